package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/terminal"
)

// showPerson is `api user show`.
func showPerson(role config.Role) *cobra.Command {
	var asJSON bool
	show := &cobra.Command{
		Use: "show EMAIL", Short: "Show the account, sessions, codes and mails of an address", Args: cobra.ExactArgs(1),
		Long: "No code, token or password is shown. Of the mails those of the last 30 days are, the newest first.",
		RunE: onDatabase(role, func(i invocation, db *database.DB) error {
			p, err := app.ShowPerson(i.Context(), i.cfg, db, i.args[0])
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(i.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(p)
			}
			return printPerson(i.OutOrStdout(), p)
		}),
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	onlyLooks(show)
	return show
}

// mailCommand is `api mail`, for the database of role.
func mailCommand(role config.Role) *cobra.Command {
	group := &cobra.Command{Use: "mail", Short: "Look after people's mails"}
	resend := &cobra.Command{
		Use: "resend EMAIL", Short: "Have another code mailed to a person who waits for one", Args: cobra.ExactArgs(1),
		Long: "The browser that asked last can use the code, and no other. It counts as if the person had asked there, within\n" +
			"the same limits.",
	}
	name := by(resend)
	resend.RunE = onDatabase(role, func(i invocation, db *database.DB) error {
		purpose, eventID, err := app.ResendMail(i.Context(), i.cfg, db, i.log, *name, i.args[0])
		if err == nil {
			i.print("a code for %s is on its way: %s", strings.ReplaceAll(purpose, "_", " "), eventID)
		}
		return err
	})
	group.AddCommand(resend)
	return group
}

// page prints lines in columns, and remembers the first error.
type page struct {
	out io.Writer
	err error
}

// section prints a headline and, where there is any, the rows of a table.
func (p *page) section(title string, columns []string, rows [][]string) {
	_, err := fmt.Fprintf(p.out, "\n%s: %d\n", title, len(rows))
	p.err = errors.Join(p.err, err)
	if len(rows) > 0 {
		p.table(append([][]string{columns}, rows...))
	}
}

func (p *page) table(rows [][]string) {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = terminal.Escape(cell)
		}
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	p.err = errors.Join(p.err, w.Flush())
}

func printPerson(out io.Writer, p operations.Person) error {
	fmt.Fprintln(out, terminal.Escape(p.Email))
	for _, warning := range p.Warnings {
		fmt.Fprintln(out, "warning:", warning)
	}
	page := &page{out: out}
	page.table(accountOf(p))
	var sessions, requests, invitations [][]string
	for _, s := range p.Sessions {
		sessions = append(sessions, []string{at(s.CreatedAt), at(s.LastSeenAt), at(s.ExpiresAt), s.IP, s.Device, s.UserAgent})
	}
	page.section("sessions", []string{"SINCE", "LAST SEEN", "EXPIRES", "ADDRESS", "DEVICE", "BROWSER"}, sessions)
	for _, r := range p.Requests {
		requests = append(requests, []string{r.Purpose, at(r.CreatedAt), r.Network, at(r.CodeAt), at(r.ExpiresAt),
			fmt.Sprint(r.WrongTries), r.State, r.EventID})
	}
	page.section("requests for codes", []string{
		"PURPOSE", "ASKED", "FROM", "LAST CODE", "EXPIRES", "WRONG TRIES", "STATE", "EVENT",
	}, requests)
	for _, i := range p.Invitations {
		invitations = append(invitations, []string{at(i.CreatedAt), at(i.ExpiresAt), i.State, i.BatchID, i.EventID})
	}
	page.section("invitations", []string{"INVITED", "EXPIRES", "STATE", "BATCH", "EVENT"}, invitations)
	columns := []string{"ASKED", "KIND", "STATE", "SINCE", "NEXT", "TRIES", "CLASS", "EVENT"}
	page.section("mails of the last 30 days", columns, mailRows(p.Mails))
	page.section("on their way", columns, mailRows(p.Waiting))
	return page.err
}

func accountOf(p operations.Person) [][]string {
	if p.User == nil {
		return [][]string{{"user", "none"}}
	}
	u := p.User
	if !u.DeletedAt.IsZero() {
		return [][]string{{"user", u.ID}, {"state", u.State + " " + at(u.DeletedAt)}}
	}
	rows := [][]string{{"user", u.ID}, {"state", u.State}, {"role", u.Role}, {"since", at(u.CreatedAt)}}
	s := p.Subscription
	if s == nil {
		return append(rows, []string{"subscription", "none"})
	}
	held := "not entitled"
	if s.Entitled {
		held = "entitled"
	}
	until := "open-ended"
	if s.Until != nil {
		until = "until " + at(*s.Until)
	}
	return append(rows, []string{"subscription", s.Plan + ", " + s.Status + ", " + until}, []string{"entitlement", held})
}

func mailRows(mails []operations.PersonMail) (rows [][]string) {
	for _, m := range mails {
		next := ""
		if m.NextAt != nil {
			next = at(*m.NextAt)
		}
		rows = append(rows, []string{at(m.AskedAt), m.Kind, m.State, at(m.ChangedAt), next, fmt.Sprint(m.Attempts), m.Class, m.EventID})
	}
	return rows
}

// at returns a time as people read it.
func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
