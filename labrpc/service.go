package labrpc

import (
	"bytes"
	"log"
	"maps"
	"reflect"
	"slices"

	"raftkv/labrpc/labgob"
)

// Service is an object whose methods can be called over the network;
// MakeService makes it. It never changes.
type Service struct {
	name     string
	receiver reflect.Value
	methods  map[string]reflect.Method
}

// MakeService returns a service named like the type of receiver, or like the
// type that it points to, whatever its package: a *raft.Raft gives "Raft". A
// generic type's name includes its arguments, and no call will ever match it.
//
// The methods that can be called are the exported ones with exactly two
// parameters, of which the second is a pointer, and no results; the others are
// not looked at. They are called in a goroutine each.
func MakeService(receiver any) *Service {
	t := reflect.TypeOf(receiver)
	if t == nil {
		panic("labrpc: MakeService(nil): a service needs an object with methods")
	}
	s := &Service{receiver: reflect.ValueOf(receiver), methods: make(map[string]reflect.Method)}
	for method := range t.Methods() {
		// Parameter 0 is the receiver.
		if m := method.Type; m.NumIn() == 3 && m.In(2).Kind() == reflect.Pointer && m.NumOut() == 0 {
			s.methods[method.Name] = method
		}
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s.name = t.Name()
	return s
}

// dispatch decodes the arguments, runs the handler and returns the encoded
// reply. The process ends when the caller and the handler do not fit together.
func (s *Service) dispatch(name string, req request) []byte {
	method, ok := s.methods[name]
	if !ok {
		log.Fatalf("labrpc: %q is called, but a %s has no such method for calls; it has %q. Such a method is exported, takes two parameters, of which the second is a pointer, and returns nothing",
			req.method, s.name, slices.Sorted(maps.Keys(s.methods)))
	}
	if wants := method.Type.In(1); !req.argsType.AssignableTo(wants) {
		log.Fatalf("labrpc: %q is called with arguments of type %v, but takes %v", req.method, req.argsType, wants)
	}
	args := reflect.New(req.argsType)
	if err := labgob.NewDecoder(bytes.NewReader(req.args)).Decode(args.Interface()); err != nil {
		log.Fatalf("labrpc: %q: the arguments cannot be decoded into a %v: %v", req.method, req.argsType, err)
	}
	reply := reflect.New(method.Type.In(2).Elem())
	method.Func.Call([]reflect.Value{s.receiver, args.Elem(), reply})
	var encoded bytes.Buffer
	if err := labgob.NewEncoder(&encoded).EncodeValue(reply); err != nil {
		log.Fatalf("labrpc: %q: the reply of type %v cannot be encoded: %v", req.method, reply.Type(), err)
	}
	return encoded.Bytes()
}
