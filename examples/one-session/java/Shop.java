import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/** A servlet with its container's sessions. Nothing in it is about Caddy. */
public class Shop extends HttpServlet {
    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        request.setCharacterEncoding("UTF-8");
        HttpSession session = request.getSession();
        switch (request.getPathInfo()) {
        case "/add":
            Map<String, Integer> cart = cart(session);
            cart.merge(request.getParameter("item"), 1, Integer::sum);
            session.setAttribute("cart", cart);
            break;
        case "/in": // a real application checks a password
            session.setAttribute("user", request.getParameter("user"));
            break;
        case "/out":
            session.invalidate();
            break;
        }
        response.setStatus(HttpServletResponse.SC_SEE_OTHER);
        response.setHeader("Location", "./");
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        HttpSession session = request.getSession(false);
        Object user = session == null ? null : session.getAttribute("user");
        StringBuilder items = new StringBuilder();
        cart(session).forEach((item, count) -> items.append("    <li>" + escape(item) + " × " + count + "</li>\n"));
        response.setContentType("text/html; charset=UTF-8");
        response.getWriter().print("<!doctype html>\n"
                + "<html lang=\"en\">\n"
                + "<meta charset=\"utf-8\">\n"
                + "<meta name=\"viewport\" content=\"width=device-width\">\n"
                + "<title>Java</title>\n"
                + "<link rel=\"stylesheet\" href=\"../style.css\">\n"
                + "<main>\n"
                + "  <h1>Java</h1>\n"
                + "  <p>" + (user == null ? "Nobody is signed in." : "Hello, " + escape(user.toString()) + "!") + "</p>\n"
                + "  <ul>\n" + items + "  </ul>\n"
                + "  <form method=\"post\" action=\"add\"><label>Item <input name=\"item\" value=\"milk\" required></label> <button>Add</button></form>\n"
                + (user == null
                        ? "  <form method=\"post\" action=\"in\"><label>Name <input name=\"user\" value=\"Erin\" required></label> <button>Sign in</button></form>\n"
                        : "  <form method=\"post\" action=\"out\"><button>Sign out</button></form>\n")
                + "</main>\n");
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Integer> cart(HttpSession session) {
        Object cart = session == null ? null : session.getAttribute("cart");
        return cart == null ? new LinkedHashMap<>() : (Map<String, Integer>) cart;
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }
}
