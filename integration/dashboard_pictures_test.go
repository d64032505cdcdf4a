//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// The pictures in docs/ are made by
//
//	WARMCGI_PICTURES=$PWD/docs go test ./integration -run TestThePicturesOfTheDashboard -timeout 20m
//
// which takes the five minutes that the charts show; WARMCGI_PICTURES_TIME=30s is quicker.
func TestThePicturesOfTheDashboard(t *testing.T) {
	to := os.Getenv("WARMCGI_PICTURES")
	if to == "" {
		t.Skip("it makes pictures for the documentation, into the folder WARMCGI_PICTURES")
	}
	span := 5 * time.Minute
	if s := os.Getenv("WARMCGI_PICTURES_TIME"); s != "" {
		var err error
		span, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	dir, yaml := dashboardSite(t)
	g := startGatewayAs(t, dir, yaml, how{plain: true})
	visitors(t, g)
	time.Sleep(span)
	for name, s := range map[string]screen{
		"dashboard-light.png": {width: 1280, height: 900},
		"dashboard-dark.png":  {width: 1280, height: 900, dark: true},
		"dashboard-phone.png": {width: 360, height: 740, phone: true},
	} {
		w := openWindow(t, g.admin, s)
		w.awaitText("#link", "live")
		w.await("rates are known", "live.scripts.some((s) => s.rate > 0)")
		w.do(chromedp.Sleep(12 * time.Second)) // some seconds' rates
		require.NoError(t, os.WriteFile(filepath.Join(to, name), w.screenshot(os.Getenv("WARMCGI_PICTURES_WHOLE") != ""), 0o644))
	}
}
