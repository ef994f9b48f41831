# frozen_string_literal: true

require 'json'
require 'minitest/autorun'
require 'rack'
require 'socket'
require 'tmpdir'

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

# A session API of one session, which keeps what it was asked.
class SessionAPI
  attr_reader :url, :asked
  attr_accessor :data, :refuses, :during

  # Listens on a Unix socket; with tls, on a port, and nil is without TLS.
  def initialize(data, tls: false)
    @data = data
    @id = Requests::ID if data
    @asked = []
    @refuses = {} # a status by method and path
    @server, base = listen(tls)
    @url = "#{base}/capability_-0"
    @thread = Thread.new { loop { serve } }
  end

  def close
    @thread.kill.join
    @server.close
    FileUtils.remove_entry(@folder) if @folder
  end

  private

  def listen(tls)
    unless tls == false
      server = TCPServer.new('127.0.0.1', 0)
      address = "127.0.0.1:#{server.addr[1]}"
      return [tls ? OpenSSL::SSL::SSLServer.new(server, tls) : server, "http#{'s' if tls}://#{address}"]
    end
    @folder = Dir.mktmpdir('a+b')
    path = File.join(@folder, 'socket')
    [UNIXServer.new(path), "http+unix://#{path.gsub('/', '%2F')}"]
  end

  def serve
    connection = @server.accept
    method, target, = connection.gets.split
    headers = {}
    while (line = connection.gets.chomp) != ''
      name, value = line.split(': ', 2)
      headers[name.downcase] = value
    end
    body = JSON.parse(connection.read(headers['content-length'].to_i)) if headers['content-type'] == 'application/json'
    @asked << [method, target.delete_prefix('/capability_-0'), body].compact
    @host = headers['host']
    status, answer = answer(*@asked.last)
    text = answer ? JSON.generate(answer) : ''
    connection.write("HTTP/1.1 #{status} -\r\nContent-Type: application/json\r\nContent-Length: #{text.bytesize}\r\nConnection: close\r\n\r\n#{text}")
  rescue SystemCallError, OpenSSL::SSL::SSLError
    # The client does not like the certificate.
  ensure
    connection&.close
  end

  def answer(method, path, body = nil)
    during&.call(method, path)
    return [403, { error: "Host: #{@host}" }] unless @host == (@folder ? 'localhost' : @url[%r{//([^/]+)}, 1])

    path = path.sub(/[?&].*/, '')
    status = refuses["#{method} #{path}".strip]
    return [status, { error: 'no, for a reason' }] if status

    case [method, path]
    when ['GET', ''] then @data or return [404, { error: 'there is no session' }]
    when ['PATCH', ''] then @data = merge(@data || {}, body)
    when ['PUT', ''] then @data = (@data || {}).merge(body)
    when ['DELETE', ''] then @id = @data = nil
    when ['POST', '/clear'] then @id, @data = Requests::NEW_ID, {}
    end
    return [204, nil] if method == 'DELETE'

    @id ||= Requests::NEW_ID
    [200, { id: @id, version: 2, expires: Time.now.to_i + 1000, data: (@data if method == 'GET') }.compact]
  end

  def merge(object, patch)
    patch.each_with_object(object.dup) do |(key, value), merged|
      next merged.delete(key) if value.nil?

      merged[key] = value.is_a?(Hash) ? merge(merged[key].is_a?(Hash) ? merged[key] : {}, value) : value
    end
  end
end
