package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/internal/outcome"
)

// errorsCommand groups the commands about errors.
type errorsCommand struct {
	List errorsList `cmd:"" help:"List every error code with its exit code, meaning and cure."`
}

// errorsList is "arcd errors list".
type errorsList struct{}

// errorCode is what "errors list" and the schema say about a code.
type errorCode struct {
	Code      outcome.Code `json:"code"`
	Exit      outcome.Exit `json:"exit_code"`
	ExitName  string       `json:"exit_name"`
	Retryable bool         `json:"retryable"`
	Meaning   string       `json:"meaning"`
	Cure      string       `json:"cure"`
	DocsURL   string       `json:"docs_url"`
	Aliases   []string     `json:"aliases"` // what other tools call the same
}

// errorsData is the result of "errors list".
type errorsData struct {
	Items []errorCode         `json:"items"`
	Exits []outcome.ExitEntry `json:"exit_codes"`
}

// docsURL is the page that describes the error codes, each under its own name.
const docsURL = "https://github.com/arcd-io/arcd/blob/main/docs/errors.md"

func (*errorsList) row() row {
	return row{instant: true, danger: safe, data: errorsData{}, examples: []string{"arcd errors list", "arcd errors list -o plain"}}
}

func (*errorsList) run(_ context.Context, c *console) (any, error) {
	data := errorsData{Items: errorCodes(), Exits: exitEntries()}
	c.listed(len(data.Items))
	return data, nil
}

// errorCodes describes all codes.
func errorCodes() []errorCode {
	all := []errorCode{}
	for _, code := range outcome.Codes() {
		exit := code.Exit()
		all = append(all, errorCode{
			code, exit, exit.Name(), exit.Retryable(), code.Meaning(), code.Cure(), docsURL + "#" + strings.ToLower(string(code)), append([]string{}, code.Aliases()...),
		})
	}
	return all
}

// exitEntries describes all exit codes.
func exitEntries() []outcome.ExitEntry {
	all := []outcome.ExitEntry{}
	for _, exit := range outcome.Exits() {
		all = append(all, exit.Entry())
	}
	return all
}

func (e errorsData) show(p *page) {
	var rows [][]string
	for _, exit := range e.Exits {
		rows = append(rows, []string{fmt.Sprint(int(exit.Exit)), exit.Name, exit.Meaning})
	}
	p.table([]string{"EXIT", "NAME", "MEANING"}, rows)
	p.line("")
	rows = nil
	for _, code := range e.Items {
		rows = append(rows, []string{fmt.Sprint(int(code.Exit)), string(code.Code), code.Meaning})
	}
	p.table([]string{"EXIT", "CODE", "MEANING"}, rows)
}

func (e errorsData) plain() []string {
	var codes []string
	for _, code := range e.Items {
		codes = append(codes, string(code.Code))
	}
	return codes
}
