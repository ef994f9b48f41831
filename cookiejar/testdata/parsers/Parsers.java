// Prints which cookies the parsers of Tomcat and Jetty find in each line of
// standard input, a Cookie header: NAME=VALUE of each, both in hexadecimal, parted
// by spaces; the parsers parted by tabs.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.StringJoiner;
import java.util.logging.Level;
import java.util.logging.Logger;

import org.apache.tomcat.util.http.CookieProcessor;
import org.apache.tomcat.util.http.LegacyCookieProcessor;
import org.apache.tomcat.util.http.MimeHeaders;
import org.apache.tomcat.util.http.Rfc6265CookieProcessor;
import org.apache.tomcat.util.http.ServerCookie;
import org.apache.tomcat.util.http.ServerCookies;
import org.eclipse.jetty.http.CookieCompliance;
import org.eclipse.jetty.server.CookieCutter;

public class Parsers {
    public static void main(String[] args) throws Exception {
        Logger.getLogger("").setLevel(Level.OFF);
        LegacyCookieProcessor lax = new LegacyCookieProcessor();
        lax.setAllowEqualsInValue(true);
        lax.setAllowHttpSepsInV0(true);
        lax.setAllowNameOnly(true);
        CookieProcessor[] tomcat = {new LegacyCookieProcessor(), lax, new Rfc6265CookieProcessor()};
        CookieCompliance[] jetty = {CookieCompliance.RFC2965, CookieCompliance.RFC6265_LEGACY, CookieCompliance.RFC6265};

        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.ISO_8859_1));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.ISO_8859_1);
        for (String line; (line = in.readLine()) != null;) {
            StringJoiner all = new StringJoiner("\t");
            for (CookieProcessor processor : tomcat) {
                MimeHeaders headers = new MimeHeaders();
                byte[] bytes = line.getBytes(StandardCharsets.ISO_8859_1);
                headers.addValue("Cookie").setBytes(bytes, 0, bytes.length);
                ServerCookies cookies = new ServerCookies(4);
                try {
                    processor.parseCookieHeader(headers, cookies);
                } catch (RuntimeException e) {
                    // For bytes of no use in a cookie; what was found before stays.
                }
                StringJoiner found = new StringJoiner(" ");
                for (int i = 0; i < cookies.getCookieCount(); i++) {
                    ServerCookie cookie = cookies.getCookie(i);
                    found.add(hex(cookie.getName().toString()) + "=" + hex(cookie.getValue().toString()));
                }
                all.add(found.toString());
            }
            for (CookieCompliance compliance : jetty) {
                CookieCutter cutter = new CookieCutter(compliance);
                cutter.addCookieField(line);
                StringJoiner found = new StringJoiner(" ");
                for (javax.servlet.http.Cookie cookie : cutter.getCookies()) {
                    found.add(hex(cookie.getName()) + "=" + hex(cookie.getValue()));
                }
                all.add(found.toString());
            }
            out.print(all + "\n");
        }
        out.flush();
    }

    static String hex(String text) {
        return text == null ? "" : HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }
}
