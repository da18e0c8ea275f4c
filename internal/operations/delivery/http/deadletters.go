package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/internal/operations"
)

const (
	deadLettersPath = "/deadletters"
	jobsPath        = deadLettersPath + "/jobs"
	// lettersShown is how many dead letters a page has.
	lettersShown = 50
)

func (h *handler) deadLetterRoutes() []route {
	const queue, job = deadLettersPath + "/:queue", jobsPath + "/:job"
	return []route{
		{method: http.MethodGet, path: deadLettersPath, handle: h.deadLetters, nav: "Dead letters"},
		{method: http.MethodGet, path: job, handle: h.deadLetterJob},
		{method: http.MethodPost, path: job + "/begin", handle: h.change("begin a job on dead letters", h.beginJob)},
		{method: http.MethodPost, path: job + "/stop", handle: h.change("stop a job on dead letters", h.stopJob)},
		{method: http.MethodGet, path: queue, handle: h.deadLettersOf},
		{method: http.MethodGet, path: queue + "/read", handle: h.readDeadLetters},
		{method: http.MethodGet, path: queue + "/letter/:mark", handle: h.deadLetter},
		{method: http.MethodPost, path: queue + "/named", handle: h.change("handle chosen dead letters", h.handleNamed)},
		{method: http.MethodPost, path: queue + "/count", handle: h.change("count dead letters", h.countMatching)},
	}
}

// deadLettersPage is the overview.
type deadLettersPage struct {
	At    time.Time
	Lines []operations.DeadQueue
	Jobs  []operations.Job
	Err   error
}

func (h *handler) deadLetters(c echo.Context) error {
	lines, at, err := h.Desk.Overview(c.Request().Context())
	return h.render(c, "deadletters", "Dead letters", deadLettersPage{at, lines, h.Desk.Jobs(), err})
}

// filter is what the form of a list holds, as it was typed.
type filter struct{ Reason, Key, Older, Newer string }

func filterOf(value func(string) string) filter {
	return filter{
		strings.TrimSpace(value("reason")), strings.TrimSpace(value("key")), strings.TrimSpace(value("older")), strings.TrimSpace(value("newer")),
	}
}

// Set reports whether anything is typed.
func (f filter) Set() bool { return f != filter{} }

// query returns f for an address.
func (f filter) query() url.Values {
	values := url.Values{}
	for name, value := range map[string]string{"reason": f.Reason, "key": f.Key, "older": f.Older, "newer": f.Newer} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values
}

func (f filter) selection() (s operations.Selection, err error) {
	s.Reason, s.Key = f.Reason, f.Key
	for _, age := range []struct {
		typed string
		to    *time.Duration
	}{{f.Older, &s.OlderThan}, {f.Newer, &s.NewerThan}} {
		if age.typed == "" {
			continue
		}
		if *age.to, err = time.ParseDuration(age.typed); err != nil || *age.to <= 0 {
			return operations.Selection{}, badRequest(fmt.Sprintf("%.20q is no age: write one as 90m or 24h", age.typed))
		}
	}
	return s, nil
}

func badRequest(text string) error { return echo.NewHTTPError(http.StatusBadRequest, text) }

// notFound has what is not there end in a page that says so.
func notFound(err error) error {
	for _, known := range []error{operations.ErrNoSuchQueue, operations.ErrNoSuchJob} {
		if errors.Is(err, known) {
			return echo.NewHTTPError(http.StatusNotFound, err.Error())
		}
	}
	return err
}

// listPage is a part of the list of one queue.
type listPage struct {
	operations.Page
	Filter  filter
	Problem string // what is wrong with the filter
	Rate    int
	MaxRate int
}

// Last is the number of the last row.
func (p listPage) Last() int { return p.First + len(p.Rows) - 1 }

// More is the address of the next page.
func (p listPage) More() string {
	return listAddress(deadLettersPath+"/"+p.Queue, p.Filter.query(), p.Next)
}

// Beginning is the address of the first page.
func (p listPage) Beginning() string {
	return listAddress(deadLettersPath+"/"+p.Queue, p.Filter.query(), "")
}

func (h *handler) deadLettersOf(c echo.Context) error {
	p := listPage{Filter: filterOf(c.QueryParam), Rate: operations.DefaultRate, MaxRate: operations.MaxRate}
	selection, err := p.Filter.selection()
	if err != nil {
		p.Problem = textOf(err)
	}
	p.Page, err = h.Desk.List(c.Request().Context(), c.Param("queue"), operations.Query{
		Selection: selection, After: c.QueryParam("after"), Limit: lettersShown,
	})
	if err != nil {
		return notFound(err)
	}
	return h.render(c, "deadletterlist", "Dead letters of "+p.Queue, p)
}

// readDeadLetters has the list of a queue read anew, which changes nothing.
func (h *handler) readDeadLetters(c echo.Context) error {
	queue := c.Param("queue")
	if err := h.Desk.Read(queue); errors.Is(err, operations.ErrNoSuchQueue) {
		return notFound(err)
	} // any other reason is on the page
	return c.Redirect(http.StatusSeeOther, listAddress(deadLettersPath+"/"+queue, filterOf(c.QueryParam).query(), ""))
}

// letterPage is one dead letter.
type letterPage struct {
	operations.Shown
	Queue string
}

func (h *handler) deadLetter(c echo.Context) error {
	queue := c.Param("queue")
	shown, err := h.Desk.Show(c.Request().Context(), queue, c.Param("mark"))
	switch {
	case errors.Is(err, operations.ErrNoSuchQueue):
		return notFound(err)
	case err != nil:
		shown.Err = err
	}
	return h.render(c, "deadletter", "Dead letter", letterPage{shown, queue})
}

// jobPage is a job of this process.
type jobPage struct {
	operations.Job
	Rate    int
	MaxRate int
}

// Meant says what all have in common that the job is about.
func (p jobPage) Meant() string {
	var all []string
	for _, part := range []struct{ name, value string }{{"reason ", p.Reason}, {"routing key ", p.Key}} {
		if part.value != "" {
			all = append(all, part.name+part.value)
		}
	}
	if p.OlderThan > 0 {
		all = append(all, "dead for longer than "+p.OlderThan.String())
	}
	if p.NewerThan > 0 {
		all = append(all, "dead for less than "+p.NewerThan.String())
	}
	return strings.Join(all, ", ")
}

// Pace is how many letters a second the job has handled, as far as it has come.
func (p jobPage) Pace(now time.Time) string {
	if !p.EndedAt.IsZero() {
		now = p.EndedAt
	}
	seconds := now.Sub(p.BegunAt).Seconds()
	if seconds < 1 {
		return "" // too little to tell
	}
	return strconv.FormatFloat(float64(p.Handled())/seconds, 'f', 1, 64) + " a second"
}

// Share is how much of the job is done, in percent.
func (p jobPage) Share() int { return 100 * (p.Counted - p.Remaining()) / max(p.Counted, 1) }

func (h *handler) deadLetterJob(c echo.Context) error {
	j, err := h.Desk.Job(c.Param("job"))
	if err != nil {
		return notFound(err)
	}
	return h.render(c, "deadletterjob", fmt.Sprintf("Job %s: %s dead letters of %s", j.ID, j.Action, j.Queue),
		jobPage{Job: j, Rate: operations.DefaultRate, MaxRate: operations.MaxRate})
}

// leadTo has the page that follows a change be another than the one the form was on.
func leadTo(c echo.Context, path string) {
	c.Request().Form.Set("back", path) // which change has parsed
}

func order(c echo.Context, by string) (o operations.Order, err error) {
	o.By, o.Why = by, c.FormValue("why")
	if typed := strings.TrimSpace(c.FormValue("rate")); typed != "" {
		if o.PerSecond, err = strconv.Atoi(typed); err != nil || o.PerSecond == 0 {
			return o, badRequest(fmt.Sprintf("the rate is a number from 1 to %d", operations.MaxRate))
		}
	}
	return o, nil
}

func (h *handler) handleNamed(ctx context.Context, c echo.Context, by string) (string, error) {
	o, err := order(c, by)
	if err != nil {
		return "", err
	}
	j, err := h.Desk.HandleNamed(ctx, c.Param("queue"), operations.Action(c.FormValue("action")), c.Request().PostForm["id"], o)
	if err != nil {
		return "", notFound(err)
	}
	leadTo(c, jobsPath+"/"+j.ID)
	return "Begun.", nil
}

func (h *handler) countMatching(_ context.Context, c echo.Context, _ string) (string, error) {
	s, err := filterOf(c.FormValue).selection()
	if err != nil {
		return "", err
	}
	s.All = !s.Filtered()
	j, err := h.Desk.Count(c.Param("queue"), operations.Action(c.FormValue("action")), s)
	if err != nil {
		return "", notFound(err)
	}
	leadTo(c, jobsPath+"/"+j.ID)
	return "Nothing is done yet: first they are counted.", nil
}

func (h *handler) beginJob(ctx context.Context, c echo.Context, by string) (string, error) {
	o, err := order(c, by)
	if err != nil {
		return "", err
	}
	_, err = h.Desk.Begin(ctx, c.Param("job"), o)
	return "Begun.", notFound(err)
}

func (h *handler) stopJob(_ context.Context, c echo.Context, by string) (string, error) {
	_, err := h.Desk.Stop(c.Param("job"), by)
	return "It stops with the letter it is at.", notFound(err)
}
