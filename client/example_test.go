package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"raftkv/client"
)

// endpoints are the addresses where the servers take clients: those of --http.
var endpoints = sync.OnceValue(client.StartExampleServers)

// A Clerk is made once and used by the whole program.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()

	if _, err := clerk.Put(ctx, "greeting", []byte("hello")); err != nil {
		log.Fatal(err)
	}
	if _, err := clerk.Append(ctx, "greeting", []byte(", world")); err != nil {
		log.Fatal(err)
	}
	item, err := clerk.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s (version %d)\n", item.Value, item.Version)
	// Output: hello, world (version 2)
}

// A counter that many increase: each reads, and writes only if nobody else did
// meanwhile.
func ExampleIfRevision() {
	ctx := context.Background()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()
	if _, err := clerk.Put(ctx, "counter", []byte("0"), client.IfAbsent()); err != nil && !errors.Is(err, client.ErrConflict) {
		log.Fatal(err)
	}

	increase := func() error {
		for {
			item, err := clerk.Get(ctx, "counter")
			if err != nil {
				return err
			}
			var n int
			fmt.Sscan(string(item.Value), &n)
			_, err = clerk.Put(ctx, "counter", fmt.Append(nil, n+1), client.IfRevision(item.Revision))
			if !errors.Is(err, client.ErrConflict) {
				return err // nil, or something that is no conflict
			}
		}
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := increase(); err != nil {
				log.Fatal(err)
			}
		})
	}
	all.Wait()
	item, _ := clerk.Get(ctx, "counter")
	fmt.Printf("%s\n", item.Value)
	// Output: 10
}

// What an error says of a write.
func ExampleError() {
	ctx := context.Background()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()
	if _, err := clerk.Put(ctx, "lock", []byte("mine")); err != nil {
		log.Fatal(err)
	}

	_, err = clerk.Put(ctx, "lock", []byte("yours"), client.IfAbsent())
	var e *client.Error
	switch {
	case errors.Is(err, client.ErrOutcomeUnknown):
		fmt.Println("it may have happened: look before doing anything else")
	case errors.Is(err, client.ErrConflict) && errors.As(err, &e):
		fmt.Printf("%s: the key has version %d; outcome: %s\n", e.Code, e.Version, e.Outcome)
	case errors.Is(err, client.ErrOverloaded), errors.Is(err, client.ErrNoLeader):
		fmt.Println("it did not happen; later, perhaps")
	}
	// Output: precondition_failed: the key has version 1; outcome: not_applied
}

// All keys under a prefix, page by page.
func ExampleClerk_All() {
	ctx := context.Background()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()
	for _, key := range []string{"a", "b", "c"} {
		if _, err := clerk.Put(ctx, key, []byte("value of "+key)); err != nil {
			log.Fatal(err)
		}
	}

	for item, err := range clerk.All(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", item.Key, item.Value)
	}
	// Output:
	// a: value of a
	// b: value of b
	// c: value of c
}

// A read of one's own write from any server, even if it lags.
func ExampleMinRevision() {
	ctx := context.Background()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer clerk.Close()
	written, err := clerk.Put(ctx, "page", []byte("new"))
	if err != nil {
		log.Fatal(err)
	}

	item, err := clerk.Get(ctx, "page", client.Stale(), client.MinRevision(written.Revision))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", item.Value)
	// Output: new
}
