package legacy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/pkg/terminal"
)

// Command returns `consumer fanout`. with runs a function with the tool of the configured servers.
func Command(with func(cmd *cobra.Command, run func(*Tool) error) error) *cobra.Command {
	group := &cobra.Command{
		Use:   "fanout",
		Short: "Leave the previous release's fanout: what is there, and whether the next step is safe",
		Long: "The phases are prepare, dual, cutover, complete (EVENTS_MIGRATION_PHASE); docs/migration-guide.md walks " +
			"through them.",
	}
	group.AddCommand(statusCommand(with), cleanupCommand(with))
	return group
}

func statusCommand(with func(*cobra.Command, func(*Tool) error) error) *cobra.Command {
	var to string
	var since time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show both paths and say whether a step is safe; fails when it is not",
		Long: "Without --to the step is the one after the phase of the hindmost living api process. Some facts are known " +
			"to RabbitMQ's management API only (RABBITMQ_MANAGEMENT_URL); a step that needs one that is unknown is not safe.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != "" && !slices.Contains(Phases, Phase(to)) {
				return fmt.Errorf("--to %q is not a phase; there are %v", to, Phases)
			}
			return with(cmd, func(t *Tool) error {
				f, err := t.Facts(cmd.Context(), since)
				if err != nil {
					return err
				}
				return printStatus(cmd.OutOrStdout(), asJSON, f, cmp.Or(Phase(to), f.Next()))
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "",
		"the phase to go to: prepare, dual, cutover or complete (default: the next one)")
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back comparisons count")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func cleanupCommand(with func(*cobra.Command, func(*Tool) error) error) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Delete the previous release's queue and exchange, once nobody needs them",
		Args:  cobra.NoArgs,
		Long: "Deletes " + Queue + " and " + Exchange + " when nothing speaks against it, and says what does. " +
			"It looks twice, 11 seconds apart, because the management API's figures are that late.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return with(cmd, func(t *Tool) error {
				c, err := t.CleanUp(cmd.Context(), dryRun)
				return printCleanup(cmd.OutOrStdout(), dryRun, c, err)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be deleted, or why not")
	return cmd
}

// printStatus shows the facts and the verdict on the step to phase to. It returns an error when the step is not safe.
func printStatus(out io.Writer, asJSON bool, f Facts, to Phase) error {
	v := Judge(f, to)
	var err error
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(struct {
			To Phase `json:"to"`
			Verdict
			Facts Facts `json:"facts"`
		}{to, v, f})
	} else {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		err = errors.Join(texts.ExecuteTemplate(w, "status", status{f, v, to}), w.Flush())
	}
	if !v.Safe {
		err = cmp.Or(err, fmt.Errorf("it is not safe to go to %s", to))
	}
	return err
}

var errCleanupRefused = errors.New("nothing was deleted")

// printCleanup says what was deleted, also when failed says that the cleanup ended early. It returns failed, or an error
// of its own when nothing may be deleted.
func printCleanup(out io.Writer, dryRun bool, c Cleanup, failed error) error {
	done := "deleted"
	if dryRun {
		done = "would delete"
	}
	for _, what := range c.Removed {
		fmt.Fprintln(out, done, what)
	}
	switch {
	case failed != nil:
		return failed
	case !c.Verdict.Safe:
		return errors.Join(texts.ExecuteTemplate(out, "verdict", c.Verdict), errCleanupRefused)
	case len(c.Removed) == 0:
		fmt.Fprintln(out, "nothing to do")
	}
	return nil
}

// status is what the template of this name shows.
type status struct {
	Facts
	Verdict Verdict
	To      Phase
}

// Queues are those worth a line. Most retry levels are empty, and as they should be.
func (s status) Queues() []eventmq.QueueState {
	all := slices.Concat([]eventmq.QueueState{s.Old, s.Email.Main}, s.Email.Retry, []eventmq.QueueState{s.Email.Dead},
		[]eventmq.QueueState{s.Legacy.Main}, s.Legacy.Retry, []eventmq.QueueState{s.Legacy.Dead}, s.Others)
	return slices.DeleteFunc(all, func(q eventmq.QueueState) bool {
		return strings.Contains(q.Name, ".retry.") && q.Ready+q.Consumers == 0
	})
}

// OtherPrograms are the readers and writers that are not ours.
func (s status) OtherPrograms() (lines []string) {
	for _, q := range s.Queues() {
		for _, r := range q.Foreign() {
			lines = append(lines, "reads "+terminal.Escape(q.Name)+"\t"+terminal.Escape(r.Name()))
		}
	}
	for _, w := range s.Fanout.ForeignWriters() {
		lines = append(lines, "publishes to "+s.Fanout.Name+"\t"+terminal.Escape(w.Name()))
	}
	return lines
}

// Ago is how long ago then was.
func (s status) Ago(then time.Time) string {
	return s.At.Sub(then).Round(time.Second).String() + " ago"
}

// texts are what the commands print. A question mark is a figure that is unknown; the reason is among what cannot be
// known.
var texts = template.Must(template.New("").Funcs(template.FuncMap{"plain": terminal.Escape}).Parse(`
{{- define "status" -}}
QUEUE	READY	UNACKED	OURS	FOREIGN	CAME IN 5 MIN
{{range .Queues}}{{plain .Name}}	{{if .Exists -}}
{{.Ready}}	{{with .Unacked}}{{.}}{{else}}?{{end}}	{{if or .Readers (not .Consumers) -}}
{{.Ours}}	{{len .Foreign}}{{else}}{{.Consumers}}, whose?	?{{end}}	{{with .Arrived}}{{.}}{{else}}?{{end}}
{{- else}}missing	-	-	-	-{{end}}
{{end}}{{with .OtherPrograms}}
ANOTHER PROGRAM	CONNECTION
{{range .}}{{.}}
{{end}}{{end}}
BINDING	FROM	TO	KEY
{{range .Bindings}}{{template "binding" .}}{{end}}{{range .OfTopic}}{{template "binding" .}}{{end}}
PROCESS	ROLE	VERSION	PHASE	SEEN
{{range .Processes}}{{plain .ID}}	{{plain .Role}}	{{plain .Version}}	{{plain .Note}}	{{$.Ago .SeenAt}}{{if .StoppedAt}}, stopped{{else if not (.Alive $.At)}}, silent since{{end}}
{{end}}
rows for {{.Fanout.Name}} in the outbox: {{.Waiting}}
{{with .Shadows}}mails compared since {{.Since.UTC.Format "2006-01-02 15:04:05"}}: {{.Matched}} match, {{.Mismatched}} differ
{{if .Mismatched}}  by field: {{.Fields}}; newest events: {{range $i, $id := .MismatchedEvents}}{{if $i}}, {{end}}{{plain $id}}{{end}}
{{end}}{{end}}{{range .Unknown}}cannot know {{plain .}}
{{end}}
{{template "verdict" .Verdict}}{{if .Verdict.Safe}}safe to go to {{.To}}
{{end}}{{end}}

{{- define "binding"}}{{.Kind}}	{{plain .Source}}	{{plain .Destination}}	{{plain (or .Key "-")}}
{{end}}

{{- define "verdict"}}{{range .Warnings}}warning: {{plain .}}
{{end}}{{range .Blockers}}not yet: {{plain .}}
{{end}}{{range .Unknown}}not yet: cannot know {{plain .}}
{{end}}{{end}}`))
