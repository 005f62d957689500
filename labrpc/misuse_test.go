package labrpc_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"raftkv/labrpc"
)

// Odd has methods that cannot be called over the network, one that can, and
// one whose reply cannot be encoded.
type Odd struct{}

func (*Odd) Fits(int, *int)             {}
func (*Odd) Unsendable(int, *secret)    {}
func (*Odd) hidden(int, *int)           {}
func (*Odd) One(*int)                   {}
func (*Odd) Three(int, *int, *int)      {}
func (*Odd) NoPointer(int, int)         {}
func (*Odd) Result(int, *int) error     { return nil }
func (*Odd) Variadic(int, ...*int)      {}
func (*Odd) Several(int, *int, ...*int) {}

var _ = (*Odd).hidden // which no call reaches

// secret has nothing that could be sent.
type secret struct{ _ int }

// Generic is a service with a name that no call can match.
type Generic[T any] struct{}

func (*Generic[T]) Fits(int, *int) {}

// misuses are the mistakes that end the process, with the text that it prints.
var misuses = map[string]struct {
	do   func(m market)
	says string
}{
	"end twice":        {func(m market) { m.MakeEnd("end") }, "an end of this name exists"},
	"unknown end":      {func(m market) { m.DeleteEnd("other") }, "there is no end of this name"},
	"end deleted":      {func(m market) { m.DeleteEnd("end"); m.DeleteEnd("end") }, "there is no end of this name"},
	"unknown service":  {call("Store.Buy", 1), `without a service "Store"; its services are ["Generic[int]" "Odd" "Shop"]`},
	"unknown method":   {call("Odd.Fit", 1), `has ["Fits" "Unsendable"]`},
	"no dot":           {call("Odd", 1), `without a service ""`},
	"empty":            {call("", 1), `without a service ""`},
	"split at last":    {call("a.Odd.Fits", 1), `without a service "a.Odd"`},
	"generic":          {call("Generic.Fits", 1), `without a service "Generic"`},
	"hidden":           {call("Odd.hidden", 1), "no such method"},
	"one parameter":    {call("Odd.One", 1), "no such method"},
	"three parameters": {call("Odd.Three", 1), "no such method"},
	"no pointer":       {call("Odd.NoPointer", 1), "no such method"},
	"result":           {call("Odd.Result", 1), "no such method"},
	"variadic":         {call("Odd.Variadic", 1), "no such method"},
	"too variadic":     {call("Odd.Several", 1), "no such method"},
	"pointer-ness":     {call("Odd.Fits", new(int)), "called with arguments of type *int, but takes int"},
	"other type":       {call("Odd.Fits", "one"), "called with arguments of type string, but takes int"},
	"unsendable reply": {call("Odd.Unsendable", 1), "the reply of type *labrpc_test.secret cannot be encoded"},
	"reply type": {func(m market) { m.end.Call("Odd.Fits", 1, new(string)) },
		"the reply cannot be decoded into a *string"},
	"reply no pointer": {func(m market) { m.end.Call("Odd.Fits", 1, 1) },
		"the reply cannot be decoded into a int"},
}

func call(method string, args any) func(m market) {
	return func(m market) { m.end.Call(method, args, new(int)) }
}

// Goal: misuse that would only mislead ends the process, and says why. Method:
// this test runs itself again for each misuse, and looks at how that ends.
func TestMisuseEndsTheProcess(t *testing.T) {
	const variable = "LABRPC_TEST_MISUSE"
	if name := os.Getenv(variable); name != "" {
		m := newMarket()
		m.server.AddService(labrpc.MakeService(&Odd{}))
		m.server.AddService(labrpc.MakeService(&Generic[int]{}))
		misuses[name].do(m)
		return
	}
	for name, misuse := range misuses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			again := exec.Command(os.Args[0], "-test.run=^TestMisuseEndsTheProcess$")
			again.Env = append(os.Environ(), variable+"="+name)
			output, err := again.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(output), misuse.says) {
				t.Fatalf("it ended with %v and said %q; want %q", err, output, misuse.says)
			}
		})
	}
}

// Goal: arguments that cannot be encoded panic in the caller, with the reason.
// Method: nothing, a nil pointer, and a type without fields to send.
func TestUnsendableArgumentsPanic(t *testing.T) {
	m := newMarket()
	defer m.Cleanup()
	for name, args := range map[string]any{"nil": nil, "nil pointer": (*Order)(nil), "no fields": secret{}, "channel": make(chan int)} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			m.end.Call("Shop.Buy", args, new(Receipt))
		})
	}
	if m.GetTotalCount() != 0 || !m.buy() {
		t.Fatal("the network suffered")
	}
}

// Goal: a service needs an object. Method: none.
func TestServiceOfNothingPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	labrpc.MakeService(nil)
}
