package render

import "strconv"

// projectCompleted is the closing mail of a project: today, of invitations in bulk.
const projectCompleted = "project_completed"

var completedParts = []string{
	"subject", "preheader", "heading", "intro", "total", "sent", "failed", "total_count", "sent_count", "failed_count",
	"note", "reference", "footer",
}

// Completion is what the closing mail of a project says.
type Completion struct {
	ProjectID string
	Total     int64
	Done      int64 // failures included
	Errors    int64 // those of Done that failed
}

// ProjectCompleted is the mail that tells who has invited many people that all of them have been seen to. Any locale but
// "vi" gives English.
func (r *Renderer) ProjectCompleted(locale string, c Completion) (Rendered, error) {
	view, err := r.words(projectCompleted, locale, completedParts, struct {
		Completion
		Sent int64
	}{c, max(0, c.Done-c.Errors)})
	if err != nil {
		return Rendered{}, err
	}
	return r.completed.fill(view)
}

// count writes n the way people do, its thousands separated: 100,000.
func count(n int64, separator string) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + separator + digits[i:]
	}
	return digits
}
