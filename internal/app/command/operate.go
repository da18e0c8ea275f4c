package command

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/pkg/apperror"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/terminal"
)

// operating are the commands for accounts, on the database of one role: a server's, where those that leave mails need the
// settings of changing and the others only those of reading, or the standalone's.
type operating struct{ reading, looking, changing config.Role }

// commands are `api user`, `api sessions` and `api audit`.
func (o operating) commands() []*cobra.Command {
	user := &cobra.Command{Use: "user", Short: "Look after accounts"}
	user.AddCommand(
		o.verb(o.changing, "disable EMAIL", "Take an account out of use: nobody can log in, and its sessions end", "disabled",
			func(i invocation, op *app.Operator, reason string) error {
				return op.Disable(i.Context(), i.args[0], reason)
			}),
		o.verb(o.reading, "enable EMAIL", "Take an account that was disabled into use again", "enabled",
			func(i invocation, op *app.Operator, _ string) error { return op.Enable(i.Context(), i.args[0]) }),
		o.verb(o.changing, "delete EMAIL", "Delete an account; its data are erased after ERASE_AFTER", "deleted",
			func(i invocation, op *app.Operator, reason string) error {
				return op.Delete(i.Context(), i.args[0], reason)
			}),
		o.verb(o.reading, "promote EMAIL", "Make a registered user an administrator",
			"promoted; the role counts from the next request on",
			func(i invocation, op *app.Operator, _ string) error {
				return op.ChangeRole(i.Context(), i.args[0], authentication.RoleAdmin)
			}),
		o.verb(o.reading, "demote EMAIL", "Make an administrator a plain user", "demoted",
			func(i invocation, op *app.Operator, _ string) error {
				return op.ChangeRole(i.Context(), i.args[0], authentication.RoleUser)
			}),
		o.list(),
		showPerson(o.looking),
	)
	sessions := &cobra.Command{Use: "sessions", Short: "Look after sessions"}
	sessions.AddCommand(o.endSessions())
	return []*cobra.Command{user, sessions, o.audit()}
}

// by adds the flag for who does it, which is recorded.
func by(c *cobra.Command) *string {
	name := c.Flags().String("by", "", "who you are, for the record")
	_ = c.MarkFlagRequired("by") // there is such a flag
	return name
}

// onlyLooks adds the same flag to a command that changes nothing: who gives it everywhere need not tell them apart.
func onlyLooks(c *cobra.Command) {
	c.Flags().String("by", "", "who you are; nothing is recorded, because nothing is changed")
}

// verb returns a command that does something to one account, and prints done. One that may be told why has --reason.
func (o operating) verb(
	role config.Role, use, short, done string, run func(i invocation, op *app.Operator, reason string) error,
) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	name, reason := by(c), new(string)
	if c.Name() == "disable" || c.Name() == "delete" {
		c.Flags().StringVar(reason, "reason", "", "why, for the record; never the user's own words")
	}
	c.RunE = onDatabase(role, func(i invocation, db *database.DB) error {
		op, err := app.NewOperator(i.Context(), role, i.cfg, db, i.log, *name)
		if err != nil {
			return err
		}
		if err := run(i, op, *reason); err != nil {
			return withFields(err)
		}
		i.print("%s", done)
		return nil
	})
	return c
}

// withFields returns err with what is wrong with the flags.
func withFields(err error) error {
	for _, flag := range slices.Sorted(maps.Keys(apperror.From(err).Fields)) {
		err = fmt.Errorf("%w: --%s %s", err, flag, apperror.From(err).Fields[flag])
	}
	return err
}

func (o operating) list() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the administrators", Args: cobra.NoArgs}
	admins := c.Flags().Bool("admins", false, "those who are administrators; required")
	onlyLooks(c)
	c.RunE = onDatabase(o.reading, func(i invocation, db *database.DB) error {
		if !*admins {
			return errors.New("say whom to list: --admins; GET /users lists everybody")
		}
		op, err := app.NewOperator(i.Context(), o.reading, i.cfg, db, i.log, "")
		if err != nil {
			return err
		}
		users, err := op.Admins(i.Context())
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(i.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "EMAIL\tID\tSTATE")
		for _, u := range users {
			state := "active"
			switch {
			case u.Disabled():
				state = "disabled"
			case !u.Active:
				state = "not verified"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", terminal.Escape(u.Email), u.ID, state)
		}
		return w.Flush()
	})
	return c
}

func (o operating) endSessions() *cobra.Command {
	c := &cobra.Command{
		Use: "end [EMAIL]", Short: "End every session of a user, or with --all of everybody: they have to log in again",
		Args: cobra.MaximumNArgs(1),
	}
	all, name := c.Flags().Bool("all", false, "end the sessions of everybody"), by(c)
	c.RunE = onDatabase(o.reading, func(i invocation, db *database.DB) error {
		if *all == (len(i.args) == 1) {
			return errors.New("name one address, or --all")
		}
		op, err := app.NewOperator(i.Context(), o.reading, i.cfg, db, i.log, *name)
		if err != nil {
			return err
		}
		if !*all {
			if err := op.EndSessions(i.Context(), i.args[0]); err != nil {
				return err
			}
			i.print("every session has ended")
			return nil
		}
		n, err := op.EndAllSessions(i.Context())
		if err == nil {
			i.print("%d sessions have ended", n)
		}
		return err
	})
	return c
}

func (o operating) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Show who did what to whom, the newest first", Args: cobra.NoArgs}
	var f audit.Filter
	var email, action, since, until string
	c.Flags().StringVar(&email, "user", "", "what was done to the user with this address")
	c.Flags().StringVar(&f.UserID, "user-id", "", "what was done to the user with this id")
	c.Flags().StringVar(&f.ActorID, "actor-id", "", "what the user with this id did")
	c.Flags().StringVar(&action, "action", "", "this action, such as "+string(audit.UserDisabled))
	c.Flags().StringVar(&since, "since", "", "from this time on: 2026-01-31T09:30:00Z, 2026-01-31 (UTC), or 2h, which is two hours ago")
	c.Flags().StringVar(&until, "until", "", "before this time, given as for --since")
	c.Flags().IntVar(&f.Limit, "limit", 100, "how many at most")
	c.MarkFlagsMutuallyExclusive("user", "user-id")
	onlyLooks(c)
	c.RunE = onDatabase(o.reading, func(i invocation, db *database.DB) (err error) {
		f.Action = audit.Action(action)
		var wrong [2]error
		f.Since, wrong[0] = parseTime("since", since)
		f.Until, wrong[1] = parseTime("until", until)
		if err := errors.Join(checkFilter(f), wrong[0], wrong[1]); err != nil {
			return err
		}
		op, err := app.NewOperator(i.Context(), o.reading, i.cfg, db, i.log, "")
		if err != nil {
			return err
		}
		entries, total, err := op.Audit(i.Context(), email, f)
		if err != nil {
			return err
		}
		return printEntries(i, entries, total)
	})
	return c
}

// checkFilter returns an error for a filter that can select nothing.
func checkFilter(f audit.Filter) (err error) {
	if actions := slices.Concat(audit.Actions, []audit.Action{legacy.Cleaned}); f.Action != "" && !slices.Contains(actions, f.Action) {
		err = fmt.Errorf("--action %q is no action; there are %v", f.Action, actions)
	}
	for _, id := range []struct{ flag, text string }{{"user-id", f.UserID}, {"actor-id", f.ActorID}} {
		if id.text != "" && uuid.Validate(id.text) != nil {
			err = errors.Join(err, fmt.Errorf("--%s is no id, such as `user show` shows", id.flag))
		}
	}
	if f.Limit < 1 {
		err = errors.Join(err, errors.New("--limit is below 1"))
	}
	return err
}

// parseTime returns the time of a flag, zero when it is not set. A duration is as long ago, a date begins in UTC.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s is not a time such as 2026-01-31T09:30:00Z, 2026-01-31 or 2h", flag)
}

func printEntries(i invocation, entries []audit.Entry, total int) error {
	w := tabwriter.NewWriter(i.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tACTION\tOUTCOME\tBY\tUSER\tSUBJECT\tADDRESS\tIP\tREASON\tREQUEST")
	for _, e := range entries {
		who := e.ActorID
		if e.Operator != "" {
			who = "operator " + e.Operator
		}
		columns := []string{
			e.At.Format(time.RFC3339), string(e.Action), string(e.Outcome), who, e.UserID, e.SubjectID,
			e.Address, e.IP, e.Reason, e.RequestID,
		}
		for i, text := range columns {
			columns[i] = terminal.Escape(text)
		}
		fmt.Fprintln(w, strings.Join(columns, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if total > len(entries) {
		i.print("%d of %d entries; see more with --limit, or narrow them down", len(entries), total)
	}
	return nil
}
