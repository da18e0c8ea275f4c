package subscription

import (
	"cmp"
	"slices"
	"strings"
)

// TransitionTable returns the transitions as rows of the table in docs/subscriptions.md, sorted.
func TransitionTable() []string {
	notices := map[Notice]string{
		NoticeCreated: "created", NoticeCancelled: "cancelled", NoticeStatusChanged: "status_changed",
	}
	var rows []string
	for s, r := range transitions {
		by := make([]string, len(r.by))
		for i, party := range r.by {
			by[i] = string(party)
		}
		slices.Sort(by)
		cells := []string{
			cmp.Or(string(s.from), "–"), string(s.to), strings.Join(by, ", "), "`subscription." + notices[r.notice] + "`",
			cmp.Or(r.reason, "–"),
		}
		rows = append(rows, "| "+strings.Join(cells, " | ")+" |")
	}
	slices.Sort(rows)
	return rows
}
