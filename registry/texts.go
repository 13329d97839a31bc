package registry

import (
	"encoding/json"
	"fmt"
)

// Texts gives what a search looks at in the stored body of an agent (see
// store.Agent), for who writes an agent into another store.
func Texts(body []byte) ([4]string, error) {
	var r record
	if err := json.Unmarshal(body, &r); err != nil {
		return [4]string{}, fmt.Errorf("reading the record: %w", err)
	}
	return textsOf(&r.Registration), nil
}
