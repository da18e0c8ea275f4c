package schema

import (
	"context"
	"errors"
	"strings"

	"github.com/smap-platform/identity/pkg/database"
)

// Ready returns nil when the database can be read and has this release's tables. A right that is missing does not make
// a process unready: every other one would be as well. Its error is like that of [Check].
func Ready(ctx context.Context, db *database.DB) error {
	if err := db.Readable(ctx); err != nil {
		return err
	}
	err := Current(ctx, db)
	if errors.Is(err, ErrPending) {
		return err
	}
	return nil
}

// Check returns a *[database.CheckError] when the database cannot do the work of this release, and an error that says to
// migrate when steps are pending. It writes nothing, and its errors have neither an address nor a server's text.
func Check(ctx context.Context, db *database.DB) error {
	if err := Ready(ctx, db); err != nil {
		return err
	}
	return db.Check(ctx, needs)
}

// needs is what api and consumer do with each table, reading included: SELECT … FOR UPDATE needs the right to update, as
// ON CONFLICT … DO UPDATE does.
var needs = []database.Need{
	need("goose_db_version", "SELECT"),
	need("users", "SELECT INSERT UPDATE DELETE"),
	need("code_requests", "SELECT INSERT UPDATE DELETE"),
	need("code_request_browsers", "SELECT INSERT DELETE"),
	need("account_notices", "SELECT INSERT UPDATE DELETE"),
	need("limits", "SELECT INSERT UPDATE DELETE"),
	need("audit_entries", "SELECT INSERT UPDATE"),
	need("sessions", "SELECT INSERT UPDATE DELETE"),
	need("ended_tokens", "SELECT INSERT DELETE"),
	need("plans", "SELECT INSERT UPDATE"),
	need("subscriptions", "SELECT INSERT UPDATE"),
	need("subscription_versions", "SELECT INSERT UPDATE"),
	need("trial_digests", "SELECT INSERT"),
	need("outbox", "SELECT INSERT UPDATE DELETE"),
	need("mail_deliveries", "SELECT INSERT UPDATE DELETE"),
	need("processes", "SELECT INSERT UPDATE DELETE"),
	need("lane_pauses", "SELECT INSERT DELETE"),
	need("project_completions", "SELECT INSERT DELETE"),
	need("invitation_batches", "SELECT INSERT UPDATE DELETE"),
	need("invitation_reports", "SELECT INSERT DELETE"),
	need("invitations", "SELECT INSERT UPDATE"),
	need("mail_pace", "SELECT INSERT UPDATE"),
	need("mail_shadows", "SELECT INSERT UPDATE DELETE"),
	need("unnamed_mails", "SELECT INSERT UPDATE DELETE"),
	need("legacy_mails", "SELECT INSERT UPDATE DELETE"),
}

func need(table, rights string) database.Need {
	return database.Need{Table: table, Rights: strings.Fields(rights)}
}
