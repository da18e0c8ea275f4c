package lifecycle_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/pkg/lifecycle"
)

// The server stops before the database that its requests need.
func ExampleRun() {
	role := func(name string) lifecycle.Role {
		return lifecycle.Role{Name: name, Run: func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println(name, "stopped")
			return nil
		}}
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // as a signal would
	err := lifecycle.Run(ctx, zerolog.Nop(), time.Second,
		[]lifecycle.Role{role("http")},
		[]lifecycle.Role{role("database")},
	)
	fmt.Println("error:", err)
	// Output:
	// http stopped
	// database stopped
	// error: <nil>
}
