package subscription

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Plan is a plan that users subscribe to.
type Plan struct {
	ID          string
	Name        string
	Code        string
	Description string
	MaxUsage    int
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// The plan of every trial, which is created on first use. The usage is what the previous release gave it.
const (
	FreePlanCode  = "free"
	FreePlanUsage = 100
)

// DefaultUsage is the usage of a plan that was made without one, as in the previous release.
const DefaultUsage = 3

// The bounds of a plan's fields, in characters; the first is that of the column.
const (
	maxPlanName        = 50
	maxPlanDescription = 1000
	maxPlanUsage       = 1<<31 - 1
)

// PlanFilter selects plans. An empty list selects all.
type PlanFilter struct {
	IDs, Codes    []string
	Limit, Offset int
}

// PlanFields is what an administrator says of a plan. What is nil stays as it is; of a new plan, it is empty, and the usage
// [DefaultUsage].
type PlanFields struct {
	Name, Code, Description *string
	MaxUsage                *int
}

// Set gives p the fields, without spaces around them.
func (f PlanFields) Set(p *Plan) {
	for field, given := range map[*string]*string{&p.Name: f.Name, &p.Code: f.Code, &p.Description: f.Description} {
		if given != nil {
			*field = strings.TrimSpace(*given)
		}
	}
	if f.MaxUsage != nil {
		p.MaxUsage = *f.MaxUsage
	}
}

// Check returns [ErrPlanBody] with the problem of each field, or nil.
func (p Plan) Check() error {
	problems := map[string]string{}
	printable := func(text string) bool { return strings.IndexFunc(text, unicode.IsControl) < 0 }
	if p.Name == "" || utf8.RuneCountInString(p.Name) > maxPlanName || !printable(p.Name) {
		problems["name"] = "must have 1 to 50 characters"
	}
	if p.Code == "" || utf8.RuneCountInString(p.Code) > maxPlanName || !printable(p.Code) ||
		strings.ContainsFunc(p.Code, unicode.IsSpace) {
		problems["code"] = "must have 1 to 50 characters without spaces"
	}
	if utf8.RuneCountInString(p.Description) > maxPlanDescription ||
		strings.ContainsFunc(p.Description, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }) {
		problems["description"] = "must have at most 1000 characters and no control characters"
	}
	if p.MaxUsage < 0 || p.MaxUsage > maxPlanUsage {
		problems["max_usage"] = "must be from 0 to 2147483647"
	}
	if len(problems) > 0 {
		return ErrPlanBody.WithFields(problems)
	}
	return nil
}
