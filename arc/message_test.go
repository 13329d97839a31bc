package arc_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/arcd-io/arcd/arc"
)

func ExampleDataPart() {
	part, err := arc.DataPart(map[string]int{"rows": 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, _ := json.Marshal(part)
	fmt.Println(string(b))
	// Output: {"type":"DataPart","content":{"rows":3},"mimeType":"application/json"}
}

func TestDataPartRefusesWhatIsNoJSON(t *testing.T) {
	if p, err := arc.DataPart(math.NaN()); err == nil {
		t.Errorf("DataPart(NaN) = %+v, want an error", p)
	}
}
