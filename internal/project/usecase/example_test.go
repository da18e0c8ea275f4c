package usecase_test

import (
	"fmt"

	"github.com/smap-platform/identity/internal/project/usecase"
)

func ExampleCompletedEventID() {
	fmt.Println(usecase.CompletedEventID("proj_1"))
	fmt.Println(usecase.CompletedEventID("proj_1"), "in every process")
	fmt.Println(usecase.CompletedEventID("proj_2"))
	// Output:
	// evt_484f0be3-561d-5046-9f6f-eb07eb6ea3a9
	// evt_484f0be3-561d-5046-9f6f-eb07eb6ea3a9 in every process
	// evt_1ce99d95-5df1-5906-a639-85d21554bd52
}
