# frozen_string_literal: true

require 'json'
require 'minitest/autorun'
require 'rack'

# Requests as Caddy sends them, and what it gets.
module Requests
  ID = 'a' * 22
  NEW_ID = 'b' * 22
  HEADERS = %w[x-session-control x-session-put x-session-set].freeze

  Answer = Struct.new(:status, :headers, :body, :errors) do
    # What the session is asked to become, by header.
    def asks
      headers.to_h { |name, value| [name.downcase, value] }.slice(*HEADERS)
    end

    def control
      asks['x-session-control']
    end

    def set
      parsed('x-session-set')
    end

    def put
      parsed('x-session-put')
    end

    def parsed(name)
      JSON.parse(asks[name]) if asks.key?(name)
    end
  end

  def environment(data, path: '/', **more)
    session = { 'HTTP_X_SESSION_NEW_ID' => NEW_ID }
    session.update('HTTP_X_SESSION_ID' => ID, 'HTTP_X_SESSION_DATA' => data.is_a?(String) ? data : JSON.generate(data)) if data
    Rack::MockRequest.env_for(path, session.merge(more.transform_keys(&:to_s)))
  end

  # Has app answer a request of a session with data, or without one if data is nil.
  def answer(app, env)
    errors = env['rack.errors'] = StringIO.new
    status, headers, body = app.call(env)
    text = +''
    body.each { |part| text << part }
    body.close if body.respond_to?(:close)
    Answer.new(status, headers, text, errors.string)
  end
end
