package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"github.com/smap-platform/identity/test/harness"
)

// hashCount is how many passwords each side hashes.
const hashCount = 60

// hashing measures logins and registrations on an api that has nothing but PostgreSQL, beside bare argon2id with the
// parameters of the service. Twice as many clients as an api has places to hash keep a place busy while another's client
// waits for its commit; on the bare side as many goroutines as places do.
func (b *bench) hashing(ctx context.Context) error {
	s, err := b.startAlone(ctx, production...)
	if err != nil {
		return err
	}
	places := runtime.GOMAXPROCS(0)
	clients := 2 * places
	client := s.Client().Forgetful()
	people := make([]*person, clients)
	for i := range people {
		if people[i], err = b.newPerson(ctx, s, fmt.Sprintf("person%d@example.com", i)); err != nil {
			return err
		}
	}
	var registered atomic.Int64
	for _, verb := range []struct {
		name string
		once func(ctx context.Context, i int) error
	}{
		{"login", func(ctx context.Context, i int) error {
			credentials := map[string]string{"email": people[i].email, "password": harness.Password}
			_, err := harness.Expect(http.StatusOK)(newStranger(client).post(ctx, "login", credentials))
			return err
		}},
		{"registration", func(ctx context.Context, _ int) error {
			email := fmt.Sprintf("new%d@example.com", registered.Add(1))
			_, _, err := newStranger(client).register(ctx, email, harness.Password)
			return err
		}},
	} {
		err := b.compare(ctx, comparison{
			what: fmt.Sprintf("%s, %d clients; bare: argon2id", verb.name, clients),
			n:    hashCount,
			aim:  0.9,
			ours: shared(clients, hashCount, verb.once),
			bare: shared(places, hashCount, hashBare),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// shared makes a side of n calls that so many workers share. do gets the worker's number.
func shared(workers, n int, do func(ctx context.Context, worker int) error) side {
	return timed(func(ctx context.Context) error {
		var taken atomic.Int64
		return inParallel(workers, func(worker int) error {
			for taken.Add(1) <= int64(n) {
				if err := do(ctx, worker); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// hashBare makes one hash as the service does: 19 MiB, two passes, one lane.
func hashBare(context.Context, int) error {
	salt := make([]byte, 16)
	_, err := rand.Read(salt)
	argon2.IDKey([]byte(harness.Password), salt, 2, 19*1024, 1, 32)
	return err
}
