package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"time"
)

const benchPassword = "correct horse battery staple"

// client is a person's browser: connections and cookies that are kept.
type client struct {
	base string
	http *http.Client
}

func newClient(base string) *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // only for options that are not given
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	return &client{base: base, http: &http.Client{Transport: transport, Timeout: time.Minute, Jar: jar}}
}

// call makes one request, and answers the body and how long it took; any other status than the one that is wanted is an
// error. A body that is a string is sent as it is, any other as JSON. header are pairs of name and value.
func (c *client) call(ctx context.Context, method, path string, want int, body any, header ...string) ([]byte, time.Duration, error) {
	text, isText := body.(string)
	if !isText && body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, 0, err
		}
		text = string(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(text))
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	started := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	took := time.Since(started)
	if err != nil {
		return nil, 0, err
	}
	if response.StatusCode != want {
		return nil, 0, fmt.Errorf("%s answered %s: %.500s", path, response.Status, answer)
	}
	return answer, took, nil
}

func (c *client) post(ctx context.Context, path string, want int, body map[string]string) (time.Duration, error) {
	_, took, err := c.call(ctx, http.MethodPost, path, want, body)
	return took, err
}

func (c *client) register(ctx context.Context, email string) (time.Duration, error) {
	return c.post(ctx, "/authentication/register", http.StatusCreated, map[string]string{"email": email, "password": benchPassword})
}

func (c *client) verify(ctx context.Context, email, code string) (time.Duration, error) {
	return c.post(ctx, "/authentication/verify-otp", http.StatusOK, map[string]string{"email": email, "otp": code})
}

func (c *client) login(ctx context.Context, email string) (time.Duration, error) {
	return c.post(ctx, "/authentication/login", http.StatusOK, map[string]string{"email": email, "password": benchPassword})
}
