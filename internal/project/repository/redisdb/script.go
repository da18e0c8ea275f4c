package redisdb

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

//go:embed begin.lua
var beginSource string

//go:embed ended.lua
var endedSource string

//go:embed finish.lua
var finishSource string

//go:embed reply.lua
var replySource string

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

//go:embed signalled.lua
var signalledSource string

//go:embed forget.lua
var forgetSource string

//go:embed open.lua
var openSource string

//go:embed postpone.lua
var postponeSource string

var (
	initScript      = operation(initSource)
	totalScript     = operation(totalSource)
	markScript      = operation(markSource)
	failScript      = operation(failSource)
	checkScript     = operation(checkSource)
	signalledScript = redis.NewScript(beginSource + signalledSource)
	forgetScript    = redis.NewScript(forgetSource)
	openScript      = redis.NewScript(openSource)
	postponeScript  = redis.NewScript(postponeSource)
)

// operation returns the script of an operation that may change a project.
func operation(source string) *redis.Script {
	return redis.NewScript(beginSource + source + endedSource + finishSource + replySource)
}

// run runs a script on the keys of a project. Its first argument is the project's id.
func (s *Store) run(ctx context.Context, script *redis.Script, projectID string, args ...any) *redis.Cmd {
	return script.Run(ctx, s.client, keys(projectID), append([]any{projectID}, args...)...)
}

// change runs an operation and returns the project after it.
func (s *Store) change(
	ctx context.Context, doing string, script *redis.Script, projectID string, args ...any,
) (project.Change, error) {
	var change project.Change
	reply, err := s.run(ctx, script, projectID, args...).Text()
	if err == nil {
		change, err = decode(projectID, reply)
	}
	return change, asUnavailable(ctx, doing+" ("+Key(projectID)+")", err)
}

// The flags in a reply.
const (
	crossed = 1 << iota
	unsignalled
	refused
	inPhases
)

// decode parses the reply that reply.lua describes.
func decode(projectID, reply string) (project.Change, error) {
	p := project.Progress{ProjectID: projectID, Status: project.StatusNotFound}
	if reply == "" {
		return project.Change{Progress: p}, nil
	}
	n, reply, err := numbers(reply, 5) // total, done, errors, flags, length of the status
	if err != nil {
		return project.Change{}, err
	}
	var counts []int64
	if n[3]&inPhases != 0 {
		if counts, reply, err = numbers(reply, 9); err != nil {
			return project.Change{}, err
		}
	}
	if n[4] < 0 || n[4] > int64(len(reply)) {
		return project.Change{}, errors.New("the script's reply is too short for its status")
	}
	p.Status, p.Total, p.Done, p.Errors = parseStatus(reply[:n[4]]), n[0], n[1], n[2]
	if counts != nil {
		p = p.InPhases(phase(counts[:3]), phase(counts[3:6]), phase(counts[6:]))
	}
	return project.Change{
		Progress:    p,
		Owner:       reply[n[4]:],
		Crossed:     n[3]&crossed != 0,
		Unsignalled: n[3]&unsignalled != 0,
		Refused:     n[3]&refused != 0,
	}, nil
}

// numbers returns the n whole numbers that reply begins with, each with a space behind it, and the rest.
func numbers(reply string, n int) (parsed []int64, rest string, err error) {
	for i := range n {
		number, behind, more := strings.Cut(reply, " ")
		value, err := strconv.ParseInt(number, 10, 64)
		if err != nil || !more {
			return nil, "", fmt.Errorf("value %d of %d in the script's reply is not a number", i+1, n)
		}
		parsed, reply = append(parsed, value), behind
	}
	return parsed, reply, nil
}

// phase returns the phase with these fields: total, done and errors, -1 where there is none.
func phase(fields []int64) project.Phase {
	return project.Phase{
		Planned: fields[0] >= 0,
		Total:   max(fields[0], 0),
		Done:    max(fields[1], 0),
		Errors:  max(fields[2], 0),
	}
}

// parseStatus returns the meaning of a stored status. A hash that another service created has none at first.
func parseStatus(status string) project.Status {
	switch s := project.Status(status); s {
	case "":
		return project.StatusInitializing
	case project.StatusWaiting:
		return project.StatusProcessing
	default:
		return s
	}
}

// asUnavailable returns [project.ErrUnavailable] with err as its cause, and with the end of ctx if it has ended; it
// returns nil if err is nil. The client reports a deadline as a timeout of the connection, possibly before the context
// does.
func asUnavailable(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	ended := ctx.Err()
	if deadline, set := ctx.Deadline(); ended == nil && set && !time.Now().Before(deadline) {
		ended = context.DeadlineExceeded
	}
	if ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return project.ErrUnavailable.WithCause(fmt.Errorf("%s in Redis: %w", doing, err))
}
