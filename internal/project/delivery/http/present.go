package http

import "github.com/smap-platform/identity/internal/project"

// view is the progress of a project.
type view struct {
	ProjectID string  `json:"project_id"`
	Status    string  `json:"status"`
	Total     int64   `json:"total"`
	Done      int64   `json:"done"`
	Errors    int64   `json:"errors"`
	Percent   float64 `json:"percent"`
}

// changeView is the response to other services.
type changeView struct {
	view
	Completed bool `json:"completed"` // this call crossed the finish line
}

// reportView is the response to other services that ask.
type reportView struct {
	view
	UserID string `json:"user_id,omitempty"` // the owner, where known
}

func present(p project.Progress) view {
	return view{
		ProjectID: p.ProjectID,
		Status:    string(p.Status),
		Total:     p.Total,
		Done:      p.Done,
		Errors:    p.Errors,
		Percent:   p.Percent(),
	}
}
