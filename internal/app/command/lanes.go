package command

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/terminal"
)

// lanes is `consumer lane`.
func lanes(role config.Role) *cobra.Command {
	group := &cobra.Command{
		Use: "lane", Short: "List, pause or resume the queues that send mail",
		Long: "QUEUE is " + app.EmailQueue + ", " + app.InvitationQueue + " or " + app.LegacyQueue + ". While a person has paused one,\n" +
			"every consumer leaves its mails in the queue, and after a restart as well; other queues go on. A mail that is being\n" +
			"sent ends first. Codes live ten minutes: those that end meanwhile are not mailed.",
	}
	list := &cobra.Command{Use: "list", Short: "Show which lanes are paused, by whom or by the mail server", Args: cobra.NoArgs}
	asJSON := list.Flags().Bool("json", false, "print JSON")
	onlyLooks(list)
	list.RunE = onDatabase(role, func(i invocation, db *database.DB) error { return listLanes(i, db, *asJSON) })

	pause := &cobra.Command{
		Use: "pause QUEUE", Short: "Have every consumer leave the mails of a queue where they are, until it is resumed",
		Args: cobra.ExactArgs(1),
	}
	pausedBy, reason := by(pause), pause.Flags().String("reason", "", "why, for the record and for those who look at the status")
	pause.RunE = onLanes(role, func(i invocation, l *app.Lanes) error {
		if err := l.Pause(i.Context(), *pausedBy, i.args[0], *reason); err != nil {
			return err
		}
		i.print("%s is paused; consumers stop within seconds, and mails wait until: %s lane resume %[1]s --by NAME", i.args[0], role)
		return nil
	})

	resume := &cobra.Command{Use: "resume QUEUE", Short: "Have the mails of a queue sent again", Args: cobra.ExactArgs(1)}
	resumedBy := by(resume)
	resume.RunE = onLanes(role, func(i invocation, l *app.Lanes) error {
		was, err := l.Resume(i.Context(), *resumedBy, i.args[0])
		if err == nil {
			i.print("%s is resumed; %s had paused it since %s", was.Queue, terminal.Escape(was.By), was.Since.UTC().Format(time.DateTime))
		}
		return err
	})
	group.AddCommand(list, pause, resume)
	return group
}

// onLanes makes a command that changes lanes.
func onLanes(role config.Role, run func(i invocation, l *app.Lanes) error) runFunc {
	return onDatabase(role, func(i invocation, db *database.DB) error {
		l, err := app.NewLanes(i.Context(), i.cfg, db)
		if err != nil {
			return err
		}
		return run(i, l)
	})
}

func listLanes(i invocation, db *database.DB, asJSON bool) error {
	l, err := app.NewLanes(i.Context(), i.cfg, db)
	if err != nil {
		return err
	}
	all, err := l.List(i.Context())
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(i.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	w := tabwriter.NewWriter(i.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LANE\tIS")
	for _, lane := range all {
		fmt.Fprintf(w, "%s\t%s\n", lane.Queue, terminal.Escape(lane.String()))
	}
	return w.Flush()
}
