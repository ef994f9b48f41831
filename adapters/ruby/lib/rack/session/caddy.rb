# frozen_string_literal: true

require 'json'
require 'securerandom'
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
    # - A change after the response has begun can't be saved: a line in +rack.errors+
    #   names the key.
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
    class Caddy < Abstract::PersistedSecure
      VERSION = '0.1.0'

      def initialize(app, options = {})
        super
        @required = @default_options.delete(:required)
      end

      def context(env, app = @app)
        visit(env)
        status, headers, body = super
        [status, headers, BodyProxy.new(body) { report_late_changes(env) }]
      end

      def commit_session(req, res)
        session = req.get_header(RACK_SESSION)
        options = session.options
        after = contents(session) unless options[:skip] || options[:drop]
        visit(req.env).headers(after, options).each do |name, value|
          # What the application asks for by itself comes first.
          name = res.headers.keys.find { |key| key.casecmp?(name) } || name
          lines = [*res.get_header(name), value]
          res.set_header(name, lines.one? || Rack.release < '3' ? lines.join("\n") : lines)
        end
      end

      private

      def visit(env)
        env['caddy.session'] ||= Visit.new(env, @required)
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

      def report_late_changes(env)
        session = env[RACK_SESSION]
        return if session.options[:skip] || session.options[:drop]

        late = begin
          visit(env).unsent(contents(session)).map { |key| "session[#{key.inspect}]" }
        rescue TypeError => e
          [e.message]
        end
        late.each { |what| env[RACK_ERRORS].puts("#{self.class}: #{what} was changed after the response had begun: the change is lost") }
      end

      # What <tt>env['rack.session']</tt> is.
      class Session < SecureSessionHash
        def clear
          super.tap { @id = @store.send(:clear_session, @req) }
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

        def initialize(env, required)
          @id, @new_id = env.values_at('HTTP_X_SESSION_ID', 'HTTP_X_SESSION_NEW_ID').map { |id| id && SessionId.new(id) }
          @expires = env['HTTP_X_SESSION_EXPIRES']
          @text = @id ? env['HTTP_X_SESSION_DATA'] : '{}'
          @began_with = @id
          return unless (@absent = !@id && !@new_id)

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
          @ended ? {} : parse(object_class: IndifferentHash)
        end

        # Asks for another session in place of this one, without its data.
        def clear
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
        def headers(after, options)
          @sent = after
          return {} if @absent
          return ending if options[:drop] || @ended == :destroy && (options[:skip] || after.empty?)
          return {} if options[:skip] || !@began_with && options[:defer] && !options[:renew]

          patch, put = after ? changes(after) : [{}, {}]
          changed = patch.any? || put.any?
          controls = []
          controls << (@ended ? 'clear' : 'renew') if @began_with && (@ended || options[:renew])
          seconds = (options[:max_age] || options[:expire_after]).to_i
          controls << "max-age=#{seconds}" if seconds.positive? && (changed || due?(seconds))
          headers = {}
          headers['x-session-control'] = controls.join(', ') if controls.any?
          headers['x-session-put'] = Data.dump(put) if put.any?
          headers['x-session-set'] = Data.dump(patch) if patch.any?
          headers
        end

        # Returns the keys of what differs between after and what headers has said.
        def unsent(after)
          after ? Data.patch(@sent || parse, after).flat_map(&:keys) : []
        end

        private

        def parse(**options)
          @text or raise "the request has X-Session-Id but no X-Session-Data: the site's session directive has forward " \
                         'lines, or request_headers without data'
          JSON.parse(@text, **options)
        end

        def ending
          @began_with ? { 'x-session-control' => 'destroy' } : {}
        end

        def changes(after)
          before = @ended ? {} : parse
          # Rack does not keep nil. But what others keep is theirs.
          Data.patch(before, after.reject { |key, value| value.nil? && !(before.key?(key) && before[key].nil?) })
        end

        # Reports whether the session lasts for another time than so many seconds, or a
        # tenth of them has passed.
        def due?(seconds)
          @id && @expires && !(0.9 * seconds..seconds + 1).cover?(@expires.to_i - Time.now.to_i)
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

        # Makes +clear+ of Rails's session say what that of Rack's says.
        module Clearing
          def clear
            super.tap { options[:id] = @by.send(:clear_session, @req) }
          end
        end

        private

        def prepare_session(req)
          super.extend(Clearing)
        end
      end
    end
  end
end
