package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

const header = "fault\tsent\tdelivered\tlost\tdoubled\trepeated\terrors\tno answer\tworst mail\tworst answer\trecovery\t"

// most is how many complaints of a line are shown.
const most = 5

// print writes the table and what is wrong, and returns how much that is.
func print(w io.Writer, rows []*row, also []string) (wrong int) {
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tabs, header)
	all := row{name: "all"}
	for _, r := range rows {
		r.line(tabs)
		all.sent += r.sent
		all.delivered += r.delivered
		all.lost += r.lost
		all.doubled += r.doubled
		all.repeated += r.repeated
		all.refusedAnswers += r.refusedAnswers
		all.noAnswer += r.noAnswer
		all.worstMail = max(all.worstMail, r.worstMail)
		all.worstAnswer = max(all.worstAnswer, r.worstAnswer)
		all.recovery = max(all.recovery, r.recovery)
		wrong += len(r.complaints)
	}
	all.line(tabs)
	_ = tabs.Flush()
	fmt.Fprintln(w, `
repeated: mails that came again because nobody could know whether the first was accepted (RFC 1047); doubled: any other.
recovery: from the end of the fault to the last registration that failed, or whose mail took longer than `+prompt.String()+`,
or than twice the worst of the first line.`)
	for _, r := range rows {
		for i, c := range r.complaints {
			if i == most {
				fmt.Fprintf(w, "WRONG %s: and %d more\n", r.name, len(r.complaints)-most)
				break
			}
			fmt.Fprintf(w, "WRONG %s: %s\n", r.name, c)
		}
	}
	for _, c := range also {
		fmt.Fprintf(w, "WRONG %s\n", c)
	}
	return wrong + len(also)
}

func (r *row) line(w io.Writer) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t\n", r.name, r.sent, r.delivered, r.lost, r.doubled, r.repeated,
		r.refusedAnswers, r.noAnswer, seconds(r.worstMail), seconds(r.worstAnswer), seconds(r.recovery))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
