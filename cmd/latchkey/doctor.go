package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/doctor"
)

// diagnose runs `latchkey doctor`. It fails where something cannot work.
func diagnose(ctx context.Context, args []string, vars map[string]string, std stdio) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	spa := flags.String("spa", "", "")
	api := flags.String("api", "", "")
	asJSON := flags.Bool("json", false, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("doctor: %w; see latchkey help", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("doctor: what is %q? See latchkey help", flags.Arg(0))
	}
	settings, err := config.Load(vars)
	if err != nil {
		return err // which says what is wrong, line by line
	}
	switch {
	case *api == "" && *spa != "":
		return errors.New("doctor: say where the API is, too: --api https://api.example.com")
	case *spa == "" && *api != "":
		*spa = *api
	}
	found, err := app.Diagnose(ctx, settings, *spa, *api)
	if err != nil {
		return err
	}
	c := cli{out: std.out}
	if *asJSON {
		err = c.printJSON(map[string]any{"findings": found})
	} else {
		err = printFindings(std.out, found)
	}
	if err != nil {
		return err
	}
	faults := 0
	for _, f := range found {
		if f.Level == doctor.Fault {
			faults++
		}
	}
	switch faults {
	case 0:
		return nil
	case 1:
		return errors.New("one thing cannot work as it is")
	default:
		return fmt.Errorf("%d things cannot work as they are", faults)
	}
}

func printFindings(out io.Writer, found []doctor.Finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range found {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Level, f.About, printable(f.Says))
		if f.Fix != "" {
			_, _ = fmt.Fprintf(w, "\t\tto mend it: %s\n", printable(f.Fix))
		}
	}
	return w.Flush()
}
