package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ServerEvent is an event of a text/event-stream.
type ServerEvent struct {
	Name, Data string
	At         time.Time // when it was received
}

// Decode decodes the event's data.
func (e ServerEvent) Decode(into any) error { return json.Unmarshal([]byte(e.Data), into) }

// Stream opens a stream of server-sent events on one api and calls see with each event, without comments. It returns
// nil when the api ends the stream.
func (c *Client) Stream(ctx context.Context, path string, see func(ServerEvent)) error {
	api := c.apis[c.turn.Add(1)%uint64(len(c.apis))]
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, api.URL()+path, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	unbounded := &http.Client{Transport: c.http.Transport, Jar: c.http.Jar} // without the timeout of a request
	response, err := unbounded.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	kind := response.Header.Get("Content-Type")
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		return fmt.Errorf("%s: no stream: %s, %s", api.Name, response.Status, kind)
	}
	var e ServerEvent
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if e.Data != "" {
				e.At = time.Now()
				see(e)
			}
			e = ServerEvent{}
		case field == "event":
			e.Name = value
		case field == "data":
			e.Data += value
		}
	}
	return lines.Err()
}
