package project_test

import (
	"fmt"

	"github.com/smap-platform/identity/internal/project"
)

func ExampleProgress_Percent() {
	fmt.Println(project.Progress{Done: 57, Total: 100}.Percent())
	fmt.Println(project.Progress{Done: 2, Total: 3}.Percent(), "rounded down")
	fmt.Println(project.Progress{Done: 4, Total: 3}.Percent(), "at most")
	fmt.Println(project.Progress{Done: 4, Total: 0}.Percent(), "while the total is unknown")
	// Output:
	// 57
	// 66.66 rounded down
	// 100 at most
	// 0 while the total is unknown
}

func ExampleStatus_Final() {
	for _, s := range []project.Status{project.StatusProcessing, project.StatusDone, project.StatusFailed, "PAUSED"} {
		fmt.Println(s, s.Final())
	}
	// Output:
	// PROCESSING false
	// DONE true
	// FAILED true
	// PAUSED false
}
