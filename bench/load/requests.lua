-- Requests of wrk with random keys; arguments: method, records, authorization, text.
local method, records, authorization, text
local headers = {}
local thread_number = 0
local sent = 0

function setup(thread)
   thread:set("thread_number", thread_number)
   thread_number = thread_number + 1
end

function init(arguments)
   method, records = arguments[1], tonumber(arguments[2])
   authorization, text = arguments[3], arguments[4]
   headers["Authorization"] = authorization
   if method == "PUT" then headers["Content-Type"] = "application/json" end
   math.randomseed(20240517 + thread_number)
end

function request()
   local path = string.format("/Bench/k%05d", math.random(0, records - 1))
   if method == "GET" then return wrk.format("GET", path, headers) end
   sent = sent + 1
   return wrk.format("PUT", path, headers, string.format('{"seq":%d,"text":"%s"}', sent, text))
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"requests":%d,"duration_us":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"p50_us":%d,"p99_us":%d}\n',
      summary.requests, summary.duration, errors.status, errors.connect, errors.read,
      errors.write, errors.timeout, latency:percentile(50), latency:percentile(99)))
end
