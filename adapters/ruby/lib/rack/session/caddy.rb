# frozen_string_literal: true

require 'delegate'
require 'json'
require 'net/http'
require 'securerandom'
require 'socket'
require 'rack/body_proxy'
require 'rack/session/abstract/id'

module Rack
  module Session
    # Sessions that Caddy keeps, for Rack 2.2 and 3, Sinatra and Rails.
    #
    # It takes the place of Rack's other session middleware. It reads the session
    # from the request headers that Caddy's +session+ directive sets, and asks for
    # changes with the response headers that the directive obeys. So the application
    # must be reachable through Caddy only, and the site needs:
    #
    #   session {
    #     request_headers id version data expires new_id
    #   }
    #
    # Rack:: <tt>use Rack::Session::Caddy</tt>
    # Sinatra:: <tt>set :session_store, Rack::Session::Caddy</tt>, beside <tt>enable :sessions</tt>
    # Rails:: <tt>config.session_store :caddy_store</tt>, if this file is loaded after Rails
    #
    # What is promised:
    #
    # - The session has changed before the client gets the first byte of the response.
    #   If it can't be saved, the client gets an error in its place.
    # - Only differences are sent, found by comparing with what came. So changes in
    #   nested hashes and arrays are seen, and parallel requests that change different
    #   keys, nested ones too, lose nothing.
    # - A session that is not used is not parsed, and nothing is sent.
    # - Values are what JSON has: strings, numbers, true, false, nil, arrays, and hashes
    #   with strings for keys. Symbols as keys become strings, and may still be used to
    #   look them up. Anything else raises a TypeError that names the key and the class.
    # - A key of the session whose value is nil is removed, as Rack does.
    # - A change after the response has begun can't be saved without the session API: a
    #   line in +rack.errors+ names the key.
    # - Without Caddy in front, the session is empty and is not kept; a line in
    #   +rack.errors+ says so once a process. With <tt>required: true</tt>, a RuntimeError
    #   says so on each request.
    #
    # These options mean what they mean to Rack, for all requests or in
    # <tt>env['rack.session.options']</tt>:
    #
    # +:renew+:: the cookie gets another secret; the session keeps its id
    # +:drop+:: the session ends, with its cookie
    # +:skip+:: nothing is saved
    # +:defer+:: nothing is saved unless there is a session
    # +:expire_after+, +:max_age+:: the session and the cookie last for so many seconds
    #
    # All others are accepted and mean nothing: Caddy makes ids and cookies.
    #
    # <tt>session.id</tt> is no secret: nobody gets into a session with it.
    #
    # Where requests have +X-Session-Api+, Caddy is asked for data that headers do not
    # hold, and changes in a body that streams are saved before it ends. The methods of
    # Explicit ask it at once. What goes wrong there is an Error.
    class Caddy < Abstract::PersistedSecure
      VERSION = '0.1.0'

      def initialize(app, options = {})
        super
        @required = @default_options.delete(:required)
      end

      def context(env, app = @app)
        visit = visit(env)
        status, headers, body = super(env, ->(inner) { answer(inner, *app.call(inner)) })
        body = if visit.api && !body.is_a?(Array)
                 Body.new(body, headers) { save_late(env) }
               else
                 BodyProxy.new(body) { save_late(env) }
               end
        [status, headers, body]
      end

      # Has the response say what the session is. An application that calls it has the
      # session saved at once, if there is the session API.
      def commit_session(req, res)
        visit = visit(req.env)
        return save_session(req) if visit.api && !visit.answered

        visit.tell(*state(req)).each do |name, value|
          # What the application asks for by itself comes first.
          name = res.headers.keys.find { |key| key.casecmp?(name) } || name
          lines = [*res.get_header(name), value]
          res.set_header(name, lines.one? || Rack.release < '3' ? lines.join("\n") : lines)
        end
      end

      # Has the session API save the session now, and reports whether there is one.
      def save_session(req)
        visit = visit(req.env)
        after, options = state(req)
        return false unless visit.api

        visit.commit(after, options)
        options[:renew] = false # it is
        become(req, visit)
        true
      end

      # Forgets what the application has changed, for what Caddy has now.
      def refresh_session(req)
        visit = visit(req.env)
        visit.refresh
        req.get_header(RACK_SESSION).send(:load!)
        become(req, visit)
      end

      # Yields while no other request has the lock of the session.
      def lock_session(req, wait, &block)
        visit(req.env).lock(wait, &block)
      end

      private

      def visit(env)
        env['caddy.session'] ||= Visit.new(env, @required)
      end

      # Returns what the session is, unless that is of no interest, and its options.
      def state(req)
        session = req.get_header(RACK_SESSION)
        options = session.options
        [(contents(session) unless options[:skip] || options[:drop]), options]
      end

      # Saves the session before a body that streams, which may go on to change it, and
      # of a connection that the application has taken for itself.
      def answer(env, status, headers, body)
        visit = visit(env)
        if visit.api && (!body.respond_to?(:to_ary) || headers['rack.hijack'] || env['rack.hijack_io'])
          save_session(make_request(env))
        end
        visit.answered = true
        [status, headers, body]
      end

      def become(req, visit)
        req.get_header(RACK_SESSION).become(visit.id || visit.new_id, !visit.id.nil?)
      end

      def session_class
        Session
      end

      def extract_session_id(req)
        visit(req.env).id
      end

      def find_session(req, _sid)
        visit = visit(req.env)
        [visit.id || visit.new_id, visit.data]
      end

      def delete_session(req, _sid, _options)
        visit(req.env).destroy
      end

      # Called when the session is emptied: returns the id that it has from then on.
      def clear_session(req)
        visit(req.env).clear
      end

      # Returns the session as plain JSON, or nil if nobody has looked at it.
      def contents(session)
        Data.plain(session.keys.zip(session.values).to_h) if session.loaded?
      end

      # Saves what has changed since the response has begun, or logs that it can't be.
      def save_late(env)
        visit = visit(env)
        after, options = state(make_request(env))
        return if options[:skip] || options[:drop]

        visit.api ? visit.commit(after, options) : report(env, visit.give_up(after))
      rescue TypeError => e
        report(env, [e.message])
      rescue Error => e
        report(env, visit.give_up(after), ": #{e.message}")
      end

      def report(env, late, reason = nil)
        late.each do |what|
          line = "#{self.class}: #{what} was changed after the response had begun: the change is lost#{reason}"
          env[RACK_ERRORS].puts(line) if visit(env).news?(line)
        end
      end

      # What the session API could not do, and why.
      class Error < RuntimeError
        # The status of its answer (docs/api.md), or nil if there was none.
        attr_reader :status

        def initialize(message, status = nil)
          super(message)
          @status = status
        end
      end

      # What a session does at once, by the session API.
      module Explicit
        def clear
          super.tap { identify(middleware.send(:clear_session, @req)) }
        end

        # Called when Caddy has said which session this is.
        def become(id, exists)
          identify(id)
          @exists = exists if loaded?
        end

        # Saves the session now: other requests see it, before this one has a response.
        # Returns false without the session API: then it is saved with the response.
        def save
          middleware.save_session(@req)
        end

        # Makes the session what Caddy has now, other requests' changes included, and
        # drops what has not been saved. Without the session API, that is what came with
        # the request.
        def reload
          middleware.refresh_session(@req)
          self
        end

        # Saves, waits until no other request is in such a block of the session, reloads,
        # runs the block and saves again. So it may read, add and write. After wait
        # seconds, 20 at most, it raises an Error with the status 423.
        def with_lock(wait: 5)
          save or raise Error, 'with_lock needs the session API: the request has no X-Session-Api'
          middleware.lock_session(@req, wait) do
            reload
            yield.tap { save }
          end
        end
      end

      # What <tt>env['rack.session']</tt> is.
      class Session < SecureSessionHash
        include Explicit

        private

        def identify(id)
          @id = id
        end

        def middleware
          @store
        end
      end

      # The session of one request: what Caddy says of it, and what the response is
      # going to ask for.
      class Visit
        @warned = false
        class << self
          attr_accessor :warned
        end

        # The id of the session there is, or nil.
        attr_reader :id

        # The session API, or nil.
        attr_reader :api

        # Whether the application has returned the response.
        attr_accessor :answered

        def initialize(env, required)
          @id, @new_id = env.values_at('HTTP_X_SESSION_ID', 'HTTP_X_SESSION_NEW_ID').map { |id| id && SessionId.new(id) }
          @expires = env['HTTP_X_SESSION_EXPIRES']
          @text = @id ? env['HTTP_X_SESSION_DATA'] : '{}'
          @began_with = @id # until the session is another one
          @absent = !@id && !@new_id
          @api = API.new(env['HTTP_X_SESSION_API']) if env['HTTP_X_SESSION_API'] && !@absent
          return unless @absent

          reason = "the request has neither X-Session-Id nor X-Session-New-Id: it did not come through Caddy's session " \
                   'directive, or request_headers lacks new_id there'
          raise reason if required
          return if Visit.warned

          Visit.warned = true
          env[RACK_ERRORS].puts("#{Caddy}: #{reason}. Sessions are empty, and are not kept.")
        end

        # The id that a session has which this response begins.
        def new_id
          @new_id ||= (SessionId.new(SecureRandom.urlsafe_base64(16)) if @absent)
        end

        # The data, for the application to change.
        def data
          @ended ? {} : JSON.parse(@known ? JSON.generate(@known) : text, object_class: IndifferentHash)
        end

        # Forgets the data for those that Caddy has now.
        def refresh
          pass_head
          fetch if @api && @began_with && !@ended
        end

        # Asks for another session in place of this one, without its data.
        def clear
          pass_head
          @ended ||= :clear
          @id = nil
          new_id
        end

        def destroy
          clear
          @ended = :destroy
          new_id
        end

        # Returns the response headers that make the session what after is: plain
        # JSON, or nil if it was not looked at.
        def tell(after, options)
          controls, put, patch = asks(after, options)
          headers = {}
          headers['x-session-control'] = controls.join(', ') if controls.any?
          headers['x-session-put'] = Data.dump(put) if put.any?
          headers['x-session-set'] = Data.dump(patch) if patch.any?
          @told = headers.any?
          goes_on = !controls.include?('destroy') && (@began_with || @told)
          @head = [goes_on ? (@began_with unless @ended) || new_id : nil, after]
          headers
        end

        # Has the API make the session what after is.
        def commit(after, options)
          pass_head
          options = %i[drop skip defer].to_h { |name| [name, options[name]] } if @answered # the rest takes a cookie
          controls, put, patch = asks(after, options)
          ages, controls = controls.partition { |control| control.start_with?('max-age') }
          answers = controls.map { |control| control == 'destroy' ? ask('DELETE') : ask('POST', "/#{control}") }
          answers << ask('PUT', '', put) if put.any?
          answers << ask('PATCH', '', patch) if patch.any?
          answers += ages.map { |age| ask('POST', "/#{age.sub('=', '?seconds=')}") }
          return if answers.empty?

          @expires = answers.last['expires']
          became(answers.last['id'], after)
        end

        # Yields with the lock of the session, if there is one.
        def lock(wait)
          locked = @began_with && ask('POST', "/lock?wait=#{(wait * 1000).to_i}ms")
          yield
        ensure
          unlock if locked
        end

        # Returns what differs between after and what Caddy has, and goes on as if it
        # did not.
        def give_up(after)
          pass_head
          lost = after ? Data.patch(known, after).flat_map(&:keys).map { |key| "session[#{key.inspect}]" } : []
          lost << 'session' if lost.empty? && @ended && @began_with
          became(@began_with, after)
          lost
        end

        # Reports whether a line is to be logged, which it is once.
        def news?(line)
          !(@lines ||= []).include?(line) && @lines << line
        end

        private

        # Returns what to ask for: directives, and the arguments of Put and Set.
        def asks(after, options)
          return [[], {}, {}] if @absent
          return [[*('destroy' if @began_with)], {}, {}] if options[:drop] || @ended == :destroy && (options[:skip] || after.empty?)
          return [[], {}, {}] if options[:skip] || !@began_with && options[:defer] && !options[:renew]

          patch, put = after ? changes(after) : [{}, {}]
          controls = []
          controls << (@ended ? 'clear' : 'renew') if @began_with && (@ended || options[:renew])
          seconds = (options[:max_age] || options[:expire_after]).to_i
          controls << "max-age=#{seconds}" if seconds.positive? && (patch.any? || put.any? || due?(seconds))
          [controls, put, patch]
        end

        # Goes on with the session of this id, nil for none, and this data.
        def became(id, after)
          id &&= SessionId.new(id.to_s)
          @new_id = nil if id && id.to_s == @new_id.to_s && @api # no id is used twice
          @id = @began_with = id
          @known = after || (id ? @known : {})
          @ended = nil
        end

        # Goes on from what the head of the response has said, once.
        def pass_head
          head, @head = @head, nil
          became(*head) if head
        end

        def ask(method, path = '', body = nil)
          path += path.include?('?') ? '&begun' : '?begun' if @told # else this may come before the head
          @api.ask(method, path, body)
        end

        def unlock
          ask('DELETE', '/lock')
        rescue Error => e
          raise unless e.status == 404 # a block within this one has given it back
        end

        def fetch
          answer = ask('GET')
          @expires = answer['expires']
          @known = answer['data']
        end

        # The data that Caddy has, as plain JSON.
        def known
          @known ||= @text || !@api ? JSON.parse(text) : fetch
        end

        def text
          return @text if @text
          return JSON.generate(known) if @api

          raise "the request has X-Session-Id but no X-Session-Data: the site's session directive has forward " \
                'lines, or request_headers without data'
        end

        def changes(after)
          before = @ended ? {} : known
          # Rack does not keep nil. But what others keep is theirs.
          Data.patch(before, after.reject { |key, value| value.nil? && !(before.key?(key) && before[key].nil?) })
        end

        # Reports whether the session lasts for another time than so many seconds, or a
        # tenth of them has passed.
        def due?(seconds)
          @id && @expires && !(0.9 * seconds..seconds + 1).cover?(@expires.to_i - Time.now.to_i)
        end
      end

      # The session API of one request. Errors do not have its URL in them, which is a
      # secret.
      class API
        TIMEOUT = 30 # seconds

        def initialize(url)
          @scheme, @authority, @path = %r{\A(https?|http\+unix)://([^/]+)(/[\w-]+)\z}.match(url)&.captures
        end

        # Returns the JSON object that it answers, {} for none.
        def ask(method, path, body = nil)
          raise Error, 'X-Session-Api is no URL of a session API' unless @path

          content = body && JSON.generate(body)
          answer = connection.start do |http|
            http.send_request(method, @path + path, content, content ? { 'Content-Type' => 'application/json' } : {})
          end
          object = answer.body.to_s.empty? ? {} : JSON.parse(answer.body)
          return object if answer.is_a?(Net::HTTPSuccess)

          raise Error.new("the session API answers #{method} #{path[/[^?&]+/] || '/'} with #{answer.code}: #{object['error']}", answer.code.to_i)
        rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError, Net::ProtocolError,
               Net::HTTPBadResponse, JSON::ParserError => e
          raise Error, "the session API does not answer: #{e.message}"
        end

        private

        def connection
          http = if @scheme == 'http+unix'
                   UnixHTTP.new('localhost', nil, nil).tap { |unix| unix.socket_path = @authority.b.gsub(/%(\h\h)/) { [$1].pack('H2') } }
                 else
                   uri = URI("#{@scheme}://#{@authority}")
                   Net::HTTP.new(uri.hostname, uri.port, nil) # whatever proxy the environment has
                 end
          http.use_ssl = @scheme == 'https'
          http.open_timeout = http.read_timeout = TIMEOUT
          http.max_retries = 0
          http
        end

        # HTTP on a Unix socket.
        class UnixHTTP < Net::HTTP
          attr_writer :socket_path

          private

          def connect
            @socket = Net::BufferedIO.new(UNIXSocket.new(@socket_path), read_timeout: read_timeout)
            on_connect
          end
        end
      end

      # A body before whose end a block is called, and again when it is closed: once the
      # response is complete, the session API does not know the request any more.
      class Body < BodyProxy
        def initialize(body, headers, &block)
          super(body, &block)
          @length = headers.find { |name, _| name.casecmp?('content-length') }&.last&.to_i unless body.respond_to?(:to_ary)
        end

        # A body streams by one of these.
        def respond_to?(name, include_all = false)
          %i[each call].include?(name) ? @body.respond_to?(name) : super
        end

        def each
          left = @length
          @body.each do |part|
            left -= part.bytesize if left
            @block.call if left&.zero?
            yield part
          end
          @block.call
        end

        def call(stream)
          @body.call(Stream.new(stream, &@block))
        end

        # What such a body writes to and closes.
        class Stream < SimpleDelegator
          def initialize(stream, &block)
            super(stream)
            @block = block
          end

          def close(*arguments)
            @block.call
            super
          end

          def close_write
            @block.call
            super
          end
        end
      end

      # Session data as JSON.
      module Data
        LEVELS = 100

        class << self
          # Returns JSON that a header can hold: ASCII without control characters.
          def dump(value)
            JSON.generate(value, ascii_only: true).gsub("\x7f", '\u007f')
          end

          # Returns a copy of value as it is once it was JSON. Raises a TypeError that
          # names the first key whose value can't be JSON.
          def plain(value, path = 'session', levels = LEVELS)
            raise TypeError, "#{path[/\Asession\[.*?\]/]} contains itself, or has more than #{LEVELS} levels" if levels.zero?

            case value
            when nil, true, false, Integer then value
            when Float
              raise TypeError, "#{path} is #{value}, which JSON does not have" unless value.finite?

              value
            when String then utf8(value, path)
            when Array then value.each_with_index.map { |item, i| plain(item, "#{path}[#{i}]", levels - 1) }
            when Hash
              value.each_with_object({}) do |(key, item), object|
                name = name(key, path)
                raise TypeError, "#{path} has the key #{name.inspect} twice, as a Symbol and a String" if object.key?(name)

                object[name] = plain(item, "#{path}[#{name.inspect}]", levels - 1)
              end
            else
              raise TypeError, "#{path} is of the class #{value.class}, which JSON does not have"
            end
          end

          # Returns the merge patch (RFC 7396) from before to after, and the members of
          # after that it can't say and that have to be put as a whole.
          def patch(before, after)
            patch = (before.keys - after.keys).to_h { |key| [key, nil] }
            put = {}
            after.each do |key, value|
              old = before[key]
              next if old == value && before.key?(key)

              if old.is_a?(Hash) && value.is_a?(Hash)
                inner, unsayable = patch(old, value)
                unsayable.empty? ? patch[key] = inner : put[key] = value
              else
                null?(value) ? put[key] = value : patch[key] = value
              end
            end
            [patch, put]
          end

          private

          # Reports whether a merge patch would lose something of value, since null in
          # an object means to remove. Arrays are values to it.
          def null?(value)
            value.nil? || value.is_a?(Hash) && value.each_value.any? { |item| null?(item) }
          end

          def name(key, path)
            case key
            when Symbol then utf8(key.to_s, path)
            when String then utf8(key, path)
            else raise TypeError, "#{path} has the key #{key.inspect} of the class #{key.class}, where JSON has strings only"
            end
          end

          # What comes from a request often is UTF-8 without being called that.
          def utf8(text, path)
            text = String.new(text)
            text = text.encoding == Encoding::BINARY ? text.force_encoding(Encoding::UTF_8) : text.encode(Encoding::UTF_8)
            raise EncodingError unless text.valid_encoding?

            text
          rescue EncodingError
            raise TypeError, "#{path} has a String that is not UTF-8, which JSON does not have"
          end
        end
      end

      # An object in the session: a Hash with strings for keys, which also finds them
      # by symbols. Much code, libraries of flash messages for one, has symbols there,
      # and JSON keeps strings.
      class IndifferentHash < Hash
        def default(key = nil)
          key.is_a?(Symbol) ? self[key.to_s] : super
        end

        %i[key? has_key? include? member? delete slice except fetch_values].each do |method|
          define_method(method) { |*keys, &block| super(*keys.map { |key| name(key) }, &block) }
        end

        %i[fetch store []=].each do |method|
          define_method(method) { |key, *rest, &block| super(name(key), *rest, &block) }
        end

        def update(*others, &block)
          super(*others.map { |other| other.to_hash.transform_keys { |key| name(key) } }, &block)
        end
        alias merge! update

        def merge(*others, &block)
          dup.update(*others, &block)
        end

        private

        def name(key)
          key.is_a?(Symbol) ? key.to_s : key
        end
      end
    end
  end
end

if defined?(ActionDispatch)
  require 'action_dispatch/middleware/session/abstract_store'

  module ActionDispatch
    module Session
      # <tt>Rack::Session::Caddy</tt> with the session and the request of Rails.
      class CaddyStore < Rack::Session::Caddy
        include Compatibility
        include StaleSessionCheck
        include SessionObject

        # What Rails's session has of Rack's.
        module Explicit
          include Rack::Session::Caddy::Explicit

          private

          def identify(id)
            options[:id] = id
          end

          def middleware
            @by
          end
        end

        def save_session(req)
          req.commit_csrf_token if req.respond_to?(:commit_csrf_token)
          super
        end

        private

        def prepare_session(req)
          super.extend(Explicit)
        end
      end
    end
  end
end
