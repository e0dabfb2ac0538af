package origin

import "testing"

func TestTrusted(t *testing.T) {
	t.Parallel()

	listed := []string{"https://app.example.com"}
	for origin, want := range map[string]struct{ listed, loopback bool }{
		"https://app.example.com":          {true, true},
		"http://localhost":                 {false, true},
		"http://localhost:5173":            {false, true},
		"http://localhost:1":               {false, true},
		"http://localhost:65535":           {false, true},
		"http://127.0.0.1:5173":            {false, true},
		"http://[::1]:5173":                {false, true},
		"https://localhost:5173":           {false, false},
		"http://127.0.0.2:5173":            {false, false},
		"http://localhost.":                {false, false},
		"http://localhost.:5173":           {false, false},
		"http://app.localhost:5173":        {false, false},
		"http://localhost.evil.example":    {false, false},
		"http://localhost:5173.evil.com":   {false, false},
		"http://localhost:5173@evil.com":   {false, false},
		"http://localhost@evil.com":        {false, false},
		"http://user@localhost:5173":       {false, false},
		"http://127.0.0.1.evil.example":    {false, false},
		"http://localhostevil.example":     {false, false},
		"http://LOCALHOST:5173":            {false, false},
		"HTTP://localhost:5173":            {false, false},
		"http://localhost:":                {false, false},
		"http://localhost:0":               {false, false},
		"http://localhost:05173":           {false, false},
		"http://localhost:+1":              {false, false},
		"http://localhost:65536":           {false, false},
		"http://localhost:5173/":           {false, false},
		"http://localhost:5173\x20":        {false, false},
		"http://localhost:5173\n":          {false, false},
		"http://localhost:5173,x":          {false, false},
		"http://[::1]evil.example":         {false, false},
		"http://[::ffff:127.0.0.1]:5173":   {false, false},
		"http://[0:0:0:0:0:0:0:1]:5173":    {false, false},
		"http://0.0.0.0:5173":              {false, false},
		"http://192.168.1.2:5173":          {false, false},
		"https://app.example.com:443":      {false, false},
		"https://app.example.com.evil.com": {false, false},
		"null":                             {false, false},
		"file://":                          {false, false},
		"":                                 {false, false},
	} {
		if got := (Trusted{Listed: listed}).Contains(origin); got != want.listed {
			t.Errorf("%q: got trusted %v, want %v", origin, got, want.listed)
		}
		if got := (Trusted{Listed: listed, Loopback: true}).Contains(origin); got != want.loopback {
			t.Errorf("%q with loopback: got trusted %v, want %v", origin, got, want.loopback)
		}
	}
}

func TestIsCanonical(t *testing.T) {
	t.Parallel()

	for given, want := range map[string]bool{
		"https://app.example.com":     true,
		"http://localhost:5173":       true,
		"http://[::1]:5173":           true,
		"https://app.example.com:443": false,
		"https://APP.example.com":     false,
		"https://app.example.com/":    false,
		"https://app.example.com?":    false,
		"https://a@app.example.com":   false,
		"ftp://app.example.com":       false,
		"null":                        false,
		"":                            false,
		"http://a\r\nb":               false,
	} {
		if got := IsCanonical(given); got != want {
			t.Errorf("%q: got canonical %v, want %v", given, got, want)
		}
	}
}
