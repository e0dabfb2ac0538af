package doctor

// Setting is a setting that protects less than its default.
type Setting struct {
	Name string
	Risk string // what it makes possible
	Fix  string
}

// WeakSettings reports the settings that are weaker than the default.
func WeakSettings(weak []Setting) []Finding {
	var f findings
	for _, s := range weak {
		f.warning(s.Name, s.Fix, "weaker than the default: %s", s.Risk)
	}
	if len(weak) == 0 {
		f.ok("Settings", "none is weaker than the default")
	}

	return f
}
