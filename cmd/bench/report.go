package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// report is what was found.
type report struct {
	tables []table
	goals  []goal
}

// table is one of the tables, in Markdown.
type table struct {
	title string
	says  string // about all of it
	head  []string
	rows  [][]string
}

// goal is a figure that the server should reach. None is a failure: a busy machine can
// miss each of them.
type goal struct {
	what   string
	figure float64
	digits int
	met    bool
	// others is which share of the processors other programs had meanwhile, where that
	// spoils the figure.
	others float64
}

// maxOthers is up to which share a figure says something.
const maxOthers = 0.2

func (g goal) verdict() string {
	switch {
	case g.others > maxOthers:
		return fmt.Sprintf("not judged: other programs had %.0f %% of the processors", 100*g.others)
	case g.met:
		return "yes"
	}
	return "no"
}

func (r *report) add(t table) { r.tables = append(r.tables, t) }

func (r *report) aim(g goal) { r.goals = append(r.goals, g) }

// print writes the report as Markdown.
func (b *bench) print(w io.Writer) error {
	redis, err := exec.CommandContext(b.ctx, "redis-server", "--version").Output()
	if err != nil {
		return err
	}
	version := "unknown"
	for field := range strings.FieldsSeq(string(redis)) {
		if v, ok := strings.CutPrefix(field, "v="); ok {
			version = v
		}
	}
	mongo := "FerretDB on SQLite in the place of MongoDB"
	if os.Getenv(mongoVariable) != "" {
		mongo = "MongoDB elsewhere, its processor time unknown"
	}
	_, err = fmt.Fprintf(w, "%d processors, %s %s/%s, Redis %s, %s\n",
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, version, mongo)
	if b.failed > 0 && err == nil {
		_, err = fmt.Fprintf(w, "\n%d of %d answers were errors: this machine is busy with other things.\n", b.failed, b.failed+b.answered)
	}
	goals := table{title: "Goals", head: []string{"goal", "figure", "met"}}
	for _, g := range b.goals {
		goals.rows = append(goals.rows, []string{g.what, number(g.figure, g.digits), g.verdict()})
	}
	for _, t := range append(b.tables, goals) {
		if err == nil {
			_, err = io.WriteString(w, t.markdown())
		}
	}
	return err
}

func (t table) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n### %s\n", t.title)
	if t.says != "" {
		fmt.Fprintf(&s, "\n%s\n", t.says)
	}
	fmt.Fprintf(&s, "\n| %s |\n| --- |%s\n", strings.Join(t.head, " | "), strings.Repeat(" ---: |", len(t.head)-1))
	for _, row := range t.rows {
		fmt.Fprintf(&s, "| %s |\n", strings.Join(row, " | "))
	}
	return s.String()
}

func number(n float64, digits int) string { return fmt.Sprintf("%.*f", digits, n) }

// median is the middle of what of gives for the rounds.
func median[T any](rounds []T, of func(T) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// ratio is the median of the ratios of the rounds.
func ratio[T any](rounds, against []T, of func(T) float64) float64 {
	type pair struct{ a, b T }
	pairs := make([]pair, len(rounds))
	for i := range rounds {
		pairs[i] = pair{rounds[i], against[i]}
	}
	return median(pairs, func(p pair) float64 { return of(p.a) / of(p.b) })
}

// others is which share of the processors other programs had in the worst of the rounds.
func others(all ...[]result) (share float64) {
	for _, rounds := range all {
		for _, r := range rounds {
			share = max(share, r.others()/r.used[available])
		}
	}
	return share
}

// inTurns measures each once in every round, and returns for each what its rounds gave.
func inTurns[T any](rounds int, measures ...func() (T, error)) ([][]T, error) {
	found := make([][]T, len(measures))
	for range rounds {
		for i, measure := range measures {
			got, err := measure()
			if err != nil {
				return nil, err
			}
			found[i] = append(found[i], got)
		}
	}
	return found, nil
}
