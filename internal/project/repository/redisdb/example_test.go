package redisdb_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
	"github.com/smap-platform/identity/pkg/redis"
)

// The finish line is crossed once, whatever is marked again.
func ExampleStore_Mark() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.Open(redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	store := redisdb.New(client)
	if _, err := store.Init(context.Background(), "p", "user-7", 2); err != nil {
		panic(err)
	}
	for _, item := range []project.Item{{ID: "a"}, {ID: "a"}, {ID: "b", Failed: true}, {ID: "b", Failed: true}, {ID: "b"}} {
		c, err := store.Mark(context.Background(), "p", []project.Item{item})
		if err != nil {
			panic(err)
		}
		fmt.Println(c.Status, c.Done, "of", c.Total, "errors", c.Errors, "crossed", c.Crossed)
	}
	// Output:
	// INITIALIZING 1 of 2 errors 0 crossed false
	// INITIALIZING 1 of 2 errors 0 crossed false
	// DONE 2 of 2 errors 1 crossed true
	// DONE 2 of 2 errors 1 crossed false
	// DONE 2 of 2 errors 0 crossed false
}
