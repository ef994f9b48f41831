package caching

import (
	"net/http"
	"strings"
)

// IsAsset reports whether a response is a script, style, image, font or media for
// a page, by its Content-Type, as applications have them for everybody alike. One
// that the browser wants for something else, by Sec-Fetch-Dest (Fetch Metadata), is
// none: a script may ask for a picture as data, and an address bar for one as a page.
//
// What the client says alone is not enough, but for a 304, which has no type: it
// could have a shared cache take a page for an asset.
func IsAsset(request, response http.Header, status int) bool {
	destination := request["Sec-Fetch-Dest"]
	wanted := len(destination) == 1 && isAssetDestination(destination[0])
	if len(destination) > 0 && !wanted {
		return false
	}
	kind := response["Content-Type"]
	if len(kind) == 0 {
		return wanted && status == http.StatusNotModified
	}
	return len(kind) == 1 && isAssetType(kind[0])
}

func isAssetDestination(destination string) bool {
	switch destination {
	case "script", "style", "image", "font", "audio", "video", "track":
		return true
	}
	return false
}

func isAssetType(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch mediaType {
	case "text/css", "text/vtt", "application/vnd.ms-fontobject",
		"text/javascript", "application/javascript", "application/x-javascript":
		return true
	}
	for _, prefix := range [...]string{"image/", "font/", "audio/", "video/", "application/font-", "application/x-font-"} {
		if strings.HasPrefix(mediaType, prefix) {
			return true
		}
	}
	return false
}
