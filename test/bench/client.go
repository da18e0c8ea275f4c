package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const benchPassword = "correct horse battery staple"

// client is a person's browser: one connection that is kept.
type client struct {
	base string
	http *http.Client
}

func newClient(base string) *client {
	return &client{base: base, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: 30 * time.Second}}
}

// post answers how long the service took to answer with the status that is wanted; any other is an error.
func (c *client) post(ctx context.Context, path string, want int, body map[string]string) (time.Duration, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	started := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	took := time.Since(started)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != want {
		return 0, fmt.Errorf("%s answered %s: %s", path, response.Status, answer)
	}
	return took, nil
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
