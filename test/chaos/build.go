package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/smap-platform/identity/test/harness"
)

// ackFirst builds a consumer that breaks a promise: it acks a message before the work that the message asks for.
func ackFirst() (path string, err error) {
	const file = "internal/event/rabbitmq/worker.go"
	root, err := harness.Repository()
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return "", err
	}
	for _, change := range [][2]string{
		{"d := ToDelivery(j.Delivery)\n\tctx, finish :=", "d := ToDelivery(j.Delivery)\n\tw.ack(j, d)\n\tctx, finish :="},
		{"case event.Ack:\n\t\tw.ack(j, d)\n", "case event.Ack:\n"},
		{"case event.Requeue:\n\t\tw.requeue(stop, j)\n", "case event.Requeue:\n"},
		{"case Moved:\n\t\tw.ack(j, d)\n", "case Moved:\n"},
	} {
		if source, err = replaceOnce(file, source, change[0], change[1]); err != nil {
			return "", err
		}
	}
	return harness.Build(harness.Consumer, map[string][]byte{file: source})
}

// ahead builds our program of that name for a machine whose clock is ten minutes ahead: whatever of ours asks for the time
// of day is told so. What measures how long something takes is not: a clock that is wrong is not fast.
func ahead(name string) (path string, err error) {
	root, err := harness.Repository()
	if err != nil {
		return "", err
	}
	const now = "time.Now().Add(10 * time.Minute)"
	replaced := map[string][]byte{}
	for file, change := range map[string][2]string{
		"pkg/database/clock.go":     {"local: time.Now}", "local: func() time.Time { return " + now + " }}"},
		"pkg/logger/logger.go":      {"Hook(clock(time.Now))", "Hook(clock(func() time.Time { return " + now + " }))"},
		"pkg/mailer/message.go":     {"time.Now().UTC()", now + ".UTC()"},
		"internal/legacy/reader.go": {"false, time.Now())", "false, " + now + ")"},
	} {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return "", err
		}
		if replaced[file], err = replaceOnce(file, source, change[0], change[1]); err != nil {
			return "", err
		}
	}
	return harness.Build(name, replaced)
}

// replaceOnce replaces a text that is in the source once.
func replaceOnce(file string, source []byte, text, with string) ([]byte, error) {
	if n := bytes.Count(source, []byte(text)); n != 1 {
		return nil, fmt.Errorf("%s has %d times %q: change what is replaced there", file, n, text)
	}
	return bytes.Replace(source, []byte(text), []byte(with), 1), nil
}
