package cookiejar

var SetCookieName = setCookieName
