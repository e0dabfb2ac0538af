package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// header is the head of the table. The goal applies to the ratio, or to the server if there is no
// ratio.
const header = "| What | Server | Baseline | Baseline's figure | Ratio | Goal |\n| --- | ---: | --- | ---: | ---: | --- |\n"

// row adds a row to the table.
func (b *bench) row(cells ...string) {
	b.rows = append(b.rows, "| "+strings.Join(cells, " | ")+" |\n")
}

// single adds a row for a server figure without a baseline.
func (b *bench) single(what, figure, goal string) { b.row(what, figure, "", "", "", goal) }

// compare adds a row that compares a server figure with the same figure for a baseline.
func (b *bench) compare(what string, server []sample, name string, baseline []sample, figure func(sample) float64, digits int, goal string) {
	b.row(what, number(median(server, figure), digits), name, number(median(baseline, figure), digits),
		number(ratio(server, baseline, figure), 2), goal)
}

// print writes the table in Markdown.
func (b *bench) print(w io.Writer) error {
	version, err := b.redisInfo("redis_version")
	if err != nil {
		return err
	}

	_, err = fmt.Fprintf(w, "%d processors, %s %s/%s, Redis %s, FerretDB on SQLite instead of MongoDB. Medians of %d rounds of %s.\n\n%s%s",
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, version, b.rounds, b.duration, header, strings.Join(b.rows, ""))

	return err
}

func number(n float64, digits int) string { return strconv.FormatFloat(n, 'f', digits, 64) }

// interleave runs each measurement once per round and returns its samples. The first round is a
// warm-up and does not count.
func (b *bench) interleave(measures ...func() (sample, error)) ([][]sample, error) {
	samples := make([][]sample, len(measures))
	for round := range 1 + b.rounds {
		for i, measure := range measures {
			s, err := measure()
			if err != nil {
				return nil, err
			}
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}

	return samples, nil
}

// median returns the median of a figure over all samples.
func median(samples []sample, figure func(sample) float64) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, figure(s))
	}
	slices.Sort(values)

	return values[len(values)/2]
}

// ratio returns the median over all rounds of the ratio between a server figure and the baseline
// figure from the same round.
func ratio(server, baseline []sample, figure func(sample) float64) float64 {
	var ratios []float64
	for i := range server {
		ratios = append(ratios, figure(server[i])/figure(baseline[i]))
	}
	slices.Sort(ratios)

	return ratios[len(ratios)/2]
}
