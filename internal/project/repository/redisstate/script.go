package redisstate

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

//go:embed finish.lua
var finishSource string

//go:embed init.lua
var initSource string

//go:embed total.lua
var totalSource string

//go:embed mark.lua
var markSource string

//go:embed fail.lua
var failSource string

//go:embed check.lua
var checkSource string

//go:embed forget.lua
var forgetSource string

//go:embed open.lua
var openSource string

var (
	initScript   = redis.NewScript(finishSource + initSource)
	totalScript  = redis.NewScript(finishSource + totalSource)
	markScript   = redis.NewScript(finishSource + markSource)
	failScript   = redis.NewScript(finishSource + failSource)
	checkScript  = redis.NewScript(finishSource + checkSource)
	forgetScript = redis.NewScript(forgetSource)
	openScript   = redis.NewScript(openSource)
)

// change runs an operation on projectID: the script by its digest, and once more with its text when the server has
// forgotten it.
func (s *Store) change(ctx context.Context, doing string, script *redis.Script, projectID string, args ...any) (project.Change, error) {
	reply, err := script.Run(ctx, s.client, keys(projectID), args...).Slice()
	if err != nil {
		return project.Change{}, unavailable(ctx, doing, err)
	}
	change, err := decode(projectID, reply)
	if err != nil {
		return project.Change{}, unavailable(ctx, doing, err)
	}
	return change, nil
}

// decode reads the answer that finish.lua describes.
func decode(projectID string, reply []any) (project.Change, error) {
	p := project.Progress{ProjectID: projectID, Status: project.StatusNotFound}
	if len(reply) == 1 {
		return project.Change{Progress: p}, nil
	}
	if len(reply) != 9 {
		return project.Change{}, fmt.Errorf("the script answered %d values, want 1 or 9", len(reply))
	}
	status, isText := reply[1].(string)
	owner, isID := reply[8].(string)
	if !isText || !isID {
		return project.Change{}, errors.New("the script answered no text for the status or the owner")
	}
	var n [6]int64 // total, done, errors, crossed, unsignalled, refused
	for i := range n {
		number, is := reply[i+2].(int64)
		if !is {
			return project.Change{}, fmt.Errorf("the script answered no number as value %d", i+3)
		}
		n[i] = number
	}
	p.Status, p.Total, p.Done, p.Errors = read(status), n[0], n[1], n[2]
	return project.Change{Progress: p, Owner: owner, Crossed: n[3] == 1, Unsignalled: n[4] == 1, Refused: n[5] == 1}, nil
}

// read is what a stored status means: a neighbour's hash has none at first, and knows one word more than we do.
func read(status string) project.Status {
	switch s := project.Status(status); s {
	case "":
		return project.StatusInitializing
	case project.StatusWaiting:
		return project.StatusProcessing
	default:
		return s
	}
}

// unavailable keeps the caller's own cancellation visible, which the client reports as a timeout of the connection.
func unavailable(ctx context.Context, doing string, err error) error {
	if over := ctx.Err(); over != nil && !errors.Is(err, over) {
		err = fmt.Errorf("%w: %w", over, err)
	}
	return project.ErrUnavailable.WithCause(fmt.Errorf("%s in Redis: %w", doing, err))
}
