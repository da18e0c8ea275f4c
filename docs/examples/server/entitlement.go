package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

// entitlement is what a user may use. Plan and Status are empty for one who has never held anything.
type entitlement struct {
	Entitled bool       `json:"entitled"`
	Plan     string     `json:"plan"`
	Status   string     `json:"status"`
	Until    *time.Time `json:"until"` // nil: open-ended, or nothing was ever held
	Version  int64      `json:"version"`
}

var client = http.Client{Timeout: 5 * time.Second}

// entitlementOf asks the Identity Service. An error means that it is not known, not that the user holds nothing.
func entitlementOf(ctx context.Context, userID string) (entitlement, error) {
	address := os.Getenv("IDENTITY_URL") + "/internal/users/" + url.PathEscape(userID) + "/entitlement"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return entitlement{}, err
	}
	request.Header.Set("X-Internal-Key", os.Getenv("INTERNAL_KEY"))
	response, err := client.Do(request)
	if err != nil {
		return entitlement{}, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		var body struct{ Data entitlement }
		err := json.NewDecoder(response.Body).Decode(&body)
		return body.Data, err
	case http.StatusNotFound: // deleted since the token was issued
		return entitlement{}, nil
	}
	return entitlement{}, fmt.Errorf("the Identity Service responded %s", response.Status)
}
