// Command server is a service that knows its users and what they may use (docs/integrate.md).
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	_ "modernc.org/sqlite"
)

func main() {
	tokens, err := newVerifier()
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open("sqlite", "billing.db?_pragma=busy_timeout(5000)") // where the consumer writes
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS refused (user_id text PRIMARY KEY, since bigint)`); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		u, err := tokens.userOf(r)
		if err != nil {
			log.Printf("401: %v", err) // the reason is for us
			http.Error(w, "Please log in", http.StatusUnauthorized)
			return
		}
		gone, err := refused(r.Context(), db, u)
		var e entitlement
		if err == nil && !gone {
			e, err = entitlementOf(r.Context(), u.ID)
		}
		switch {
		case err != nil: // it is not known, which is no reason to lock people out
			log.Printf("503: %v", err)
			http.Error(w, "Please try again", http.StatusServiceUnavailable)
		case gone:
			log.Print("401: the account was disabled or deleted")
			http.Error(w, "Please log in", http.StatusUnauthorized)
		case !e.Entitled:
			http.Error(w, "Please choose a plan", http.StatusPaymentRequired)
		default:
			fmt.Fprintf(w, "Hello %s, your plan is %s (%s)\n", u.Email, e.Plan, e.Status)
		}
	})
	server := http.Server{Addr: os.Getenv("LISTEN"), ReadHeaderTimeout: 5 * time.Second}
	log.Printf("serving http://%s", server.Addr)
	log.Fatal(server.ListenAndServe())
}

// refused reports whether the user was disabled or deleted after their token was issued.
func refused(ctx context.Context, db *sql.DB, u user) (bool, error) {
	var since int64
	err := db.QueryRowContext(ctx, `SELECT since FROM refused WHERE user_id = ?`, u.ID).Scan(&since)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return u.IssuedAt.Unix() <= since, err
}
