import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

/** Runs the same application in Tomcat and in Jetty, and prints their ports. */
public class Containers {
    /** Signs in with ?user=NAME; says who is signed in, a link as containers write it, and the path. */
    static class Application extends HttpServlet {
        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            String user = request.getParameter("user");
            if (user != null) {
                request.getSession().setAttribute("user", user);
            }
            Object known = request.getSession().getAttribute("user");
            response.setContentType("text/plain");
            response.getWriter().printf("user=%s link=%s path=%s", known == null ? "" : known, response.encodeURL("/next"), request.getRequestURI());
        }
    }

    public static void main(String[] arguments) throws Exception {
        File folder = Files.createTempDirectory(new File(arguments[0]).toPath(), "tomcat").toFile();
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(folder.getPath());
        tomcat.setPort(0);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        for (String name : new String[] {"", "APPID"}) { // the default is JSESSIONID
            Context context = tomcat.addContext(name.isEmpty() ? "" : "/named", folder.getPath());
            if (!name.isEmpty()) {
                context.setSessionCookieName(name);
            }
            Tomcat.addServlet(context, "application", new Application());
            context.addServletMappingDecoded("/*", "application");
        }
        tomcat.start();

        Server jetty = new Server();
        ServerConnector connector = new ServerConnector(jetty);
        connector.setHost("127.0.0.1");
        jetty.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler(ServletContextHandler.SESSIONS);
        context.setContextPath("/");
        context.addServlet(new ServletHolder(new Application()), "/*");
        jetty.setHandler(context);
        jetty.start();

        System.out.println(tomcat.getConnector().getLocalPort() + " " + connector.getLocalPort());
        while (System.in.read() >= 0) { // until the test ends
        }
        System.exit(0);
    }
}
