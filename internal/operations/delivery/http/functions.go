package http

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// unknown stands for what is not known, which is no zero.
const unknown = "unknown"

// functions returns what the templates call.
func functions() template.FuncMap {
	return template.FuncMap{
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"moment": moment,
		"clock":  func(t time.Time) string { return t.UTC().Format(time.TimeOnly) },
		"ago":    ago,
		"since":  func(now, then time.Time) string { return span(now.Sub(then)) },
		"span":   span,
		"figure": func(n *int) string {
			if n == nil {
				return unknown
			}
			return fmt.Sprint(*n)
		},
		"seconds": func(s *float64) string {
			if s == nil {
				return unknown
			}
			return span(time.Duration(*s * float64(time.Second)))
		},
		"seconds2": func(s float64) string { return span(time.Duration(s * float64(time.Second))) },
		"some":     func(n *int) bool { return n != nil && *n > 0 },
		"none":     func(n *int) bool { return n != nil && *n == 0 },
		"isNo":     func(b *bool) bool { return b != nil && !*b },
		"many":     many,
		"inc":      func(i int) int { return i + 1 },
		"words":    func(all ...string) []string { return all },
		"spaced":   func(name string) string { return strings.ReplaceAll(name, "_", " ") },
		"count": func(n int, one, many string) string {
			if n == 1 {
				many = one
			}
			return fmt.Sprintf("%d %s", n, many)
		},
	}
}

func moment(t time.Time) string {
	if t.IsZero() {
		return unknown
	}
	return t.UTC().Format(time.DateTime)
}

// ago returns how long before now something was.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return unknown
	}
	return span(max(now.Sub(then), 0)) + " ago"
}

// span returns a duration with the digits that matter to a person.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// many returns a number that is easy to read: 100,000.
func many(n int) string {
	if n < 0 {
		return "-" + many(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", many(n/1000), n%1000)
}
