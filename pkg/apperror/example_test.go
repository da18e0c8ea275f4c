package apperror_test

import (
	"errors"
	"fmt"

	"github.com/smap-platform/identity/pkg/apperror"
)

// errNameTaken is a sentinel, declared where the rule lives.
var errNameTaken = apperror.New(apperror.Conflict, 4090, "This name is taken; choose another one")

// A copy is enriched for one request, and still matches its sentinel.
func ExampleError_WithCause() {
	err := fmt.Errorf("registering: %w", errNameTaken.WithCause(errors.New("unique index users_name")))

	fmt.Println(errors.Is(err, errNameTaken), apperror.KindOf(err))
	fmt.Println("client:", apperror.From(err).Message)
	fmt.Println("log:", err)
	// Output:
	// true conflict
	// client: This name is taken; choose another one
	// log: registering: This name is taken; choose another one: unique index users_name
}
