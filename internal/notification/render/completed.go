package render

import (
	"strconv"

	"github.com/smap-platform/identity/internal/notification"
)

// projectCompleted is the closing mail of a project.
const projectCompleted = "project_completed"

// ProjectCompleted returns the mail that reports to the sender of bulk invitations that every one has been processed.
func (r *Renderer) ProjectCompleted(locale string, c notification.Completion) (notification.Content, error) {
	return r.render(projectCompleted, locale, struct {
		notification.Completion
		Sent int64
	}{c, max(0, c.Done-c.Errors)}, nil)
}

// count returns n with its thousands separated: 100,000.
func count(n int64, separator string) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + separator + digits[i:]
	}
	return digits
}
