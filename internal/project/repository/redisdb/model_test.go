package redisdb_test

import (
	"maps"
	"slices"
	"strconv"

	"github.com/smap-platform/identity/internal/project"
)

// model is a project by the rules alone, without Redis and concurrency. It has no lifetimes.
type model struct {
	id      string
	there   bool
	fields  map[string]string // of the hash, including those of other services
	counted map[string]bool   // by item: whether it failed
	owner   string
	open    bool // counted here and not signalled
}

func newModel(id string) *model {
	return &model{id: id, fields: map[string]string{}, counted: map[string]bool{}}
}

func (m *model) number(field string) int64 {
	n, err := strconv.ParseInt(m.fields[field], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (m *model) set(field string, n int64) { m.fields[field] = strconv.FormatInt(n, 10) }

func (m *model) fill(field string, n int64) {
	if _, there := m.fields[field]; !there {
		m.set(field, n)
	}
}

func (m *model) final() bool { return project.Status(m.fields["status"]).Final() }

func (m *model) failures() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for id, failed := range m.counted {
			if failed && !yield(id) {
				return
			}
		}
	})
}

func (m *model) items() []string { return slices.Sorted(maps.Keys(m.counted)) }

// result applies the finish-line rule.
func (m *model) result(refused bool) project.Change {
	if !m.there {
		return project.Change{Progress: project.Progress{ProjectID: m.id, Status: project.StatusNotFound}}
	}
	total, errors := m.number("total"), m.number("errors")
	done := m.number("done") + max(0, errors-int64(len(m.failures()))) // a failure counted elsewhere is in errors only
	crossed := total > 0 && done >= total && !m.final() && m.fields["status"] != "CRAWLING"
	if crossed {
		m.fields["status"] = "DONE"
	}
	if m.fields["status"] == "FAILED" || m.fields["status"] == "DONE" && total == 0 {
		m.open = false
	}
	status := project.Status(m.fields["status"])
	switch status {
	case "":
		status = project.StatusInitializing
	case "PROCESSING_WAIT":
		status = project.StatusProcessing
	}
	progress := project.Progress{ProjectID: m.id, Status: status, Total: total, Done: done, Errors: errors}
	if total == 0 {
		progress = progress.InPhases(m.phase("tasks"), m.phase("crawl"), m.phase("analyze"))
	}
	return project.Change{
		Progress: progress,
		Owner:    m.owner, Crossed: crossed, Unsignalled: status == project.StatusDone && m.open, Refused: refused,
	}
}

func (m *model) phase(name string) project.Phase {
	_, planned := m.fields[name+"_total"]
	return project.Phase{
		Planned: planned,
		Total:   m.number(name + "_total"),
		Done:    m.number(name + "_done"),
		Errors:  m.number(name + "_errors"),
	}
}

func (m *model) init(owner string, total int64) project.Change {
	m.there = true
	if m.fields["status"] == "" {
		m.fields["status"] = "INITIALIZING"
	}
	refused := false
	if total > 0 && m.number("total") == 0 {
		if refused = m.final(); !refused {
			m.set("total", total)
		}
	}
	m.fill("total", 0)
	m.fill("done", int64(len(m.counted)))
	m.fill("errors", int64(len(m.failures())))
	if m.owner == "" {
		m.owner = owner
	}
	return m.result(refused)
}

func (m *model) setTotal(total int64, final bool) project.Change {
	if !m.there {
		return m.result(false)
	}
	if m.final() {
		return m.result(total != m.number("total"))
	}
	m.set("total", total)
	if slices.Contains([]string{"", "INITIALIZING", "CRAWLING", "PROCESSING", "PROCESSING_WAIT"}, m.fields["status"]) {
		m.fields["status"] = "CRAWLING"
		if final {
			m.fields["status"] = "PROCESSING"
		}
	}
	return m.result(false)
}

// mark counts the items one by one, unlike the script. An item that is listed both as ok and as failed is ok.
func (m *model) mark(items []project.Item) project.Change {
	if !m.there {
		return m.result(false)
	}
	if !m.final() {
		m.open = true
	}
	for _, item := range items {
		failed, known := m.counted[item.ID]
		switch {
		case !known:
			m.counted[item.ID] = item.Failed
			m.set("done", m.number("done")+1)
			if item.Failed {
				m.set("errors", m.number("errors")+1)
			}
		case failed && !item.Failed:
			m.counted[item.ID] = false
			m.set("errors", m.number("errors")-1)
		}
	}
	return m.result(false)
}

func (m *model) fail(reason string) project.Change {
	switch {
	case !m.there:
		return m.result(false)
	case m.fields["status"] == "DONE":
		return m.result(true)
	case m.fields["status"] != "FAILED":
		m.fields["status"], m.fields["failed_reason"] = "FAILED", reason
	case m.fields["failed_reason"] == "":
		m.fields["failed_reason"] = reason
	}
	return m.result(false)
}

func (m *model) check() project.Change {
	if !m.there {
		m.open = false
	}
	return m.result(false)
}

func (m *model) signalled() { m.open = false }

func (m *model) forget() { *m = *newModel(m.id) }

// lose deletes the hash alone, as another service may.
func (m *model) lose() { m.there, m.fields = false, map[string]string{} }

func (m *model) write(field, value string) {
	m.there = true
	m.fields[field] = value
}
