// What Go's own reverse proxy does, on one core: go_proxy UPSTREAM PORT
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
)

func main() {
	runtime.GOMAXPROCS(1)
	upstream, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		// X-Forwarded-For it appends by itself.
		Director: func(r *http.Request) {
			r.URL.Scheme, r.URL.Host = upstream.Scheme, upstream.Host
			r.Header.Set("X-Forwarded-Proto", "http")
			r.Header.Set("X-Forwarded-Host", r.Host)
		},
		FlushInterval: -1,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024,
			DisableCompression:  true,
		},
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], proxy))
}
