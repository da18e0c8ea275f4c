// Command counter has the items of a project counted (docs/integrate.md).
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

type progress struct {
	Status              string
	Total, Done, Errors int64
	Percent             float64
	Completed           bool
}

type object map[string]any

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: counter PROJECT USER")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	project := os.Args[1]
	step := func(method, path string, body object) {
		p, err := call(ctx, method, project, path, body)
		if err != nil {
			log.Fatalf("%s %s: %v", method, path, err)
		}
		log.Printf("%s: %d of %d done, %d failed, %.0f %%", p.Status, p.Done, p.Total, p.Errors, p.Percent)
	}
	step(http.MethodPost, "", object{"user_id": os.Args[2]})
	step(http.MethodPut, "/total", object{"total": 2, "final": false}) // more may be found
	step(http.MethodPost, "/items", object{"items": []object{{"item_id": "a1"}, {"item_id": "a2", "failed": true}}})
	step(http.MethodPost, "/items", object{"items": []object{{"item_id": "a2"}}}) // it has succeeded after all
	step(http.MethodPut, "/total", object{"total": 3, "final": true})             // that is all
	step(http.MethodPost, "/items", object{"items": []object{{"item_id": "a3"}}})

	project += "-blocked" // another one, which has to be given up
	step(http.MethodPost, "", object{"user_id": os.Args[2]})
	step(http.MethodPost, "/fail", object{"reason": "the crawler was blocked"})
}

// call repeats a request until it is known what has become of it. Every one of them may be repeated.
func call(ctx context.Context, method, project, path string, body object) (progress, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return progress{}, err
	}
	for {
		p, wait, err := once(ctx, method, project, path, sent)
		if wait == 0 {
			return p, err
		}
		log.Printf("repeated in %s: %v", wait, err)
		select {
		case <-ctx.Done():
			return progress{}, err
		case <-time.After(wait):
		}
	}
}

// once returns how long to wait before the request is repeated, or 0 when that would change nothing.
func once(ctx context.Context, method, project, path string, body []byte) (p progress, wait time.Duration, err error) {
	address := os.Getenv("IDENTITY_URL") + "/internal/projects/" + url.PathEscape(project) + path
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return p, 0, err
	}
	request.Header.Set("X-Internal-Key", os.Getenv("INTERNAL_KEY"))
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return p, time.Second, err // it may have been counted, which does no harm
	}
	defer response.Body.Close()
	var decoded struct {
		Message string
		Data    progress
	}
	err = json.NewDecoder(response.Body).Decode(&decoded)
	switch {
	case response.StatusCode == http.StatusOK && err == nil:
		return decoded.Data, 0, nil
	case response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return p, time.Duration(max(seconds, 1)) * time.Second, fmt.Errorf("%s %s", response.Status, decoded.Message)
	}
	return p, 0, fmt.Errorf("%s %s", response.Status, decoded.Message)
}
