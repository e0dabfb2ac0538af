package httpapi_test

import (
	"testing"

	"latchkey/internal/devstore/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }
