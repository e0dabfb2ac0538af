-- Each connection rests between an answer and its next request, 40 ms on average: with 64
-- of them that is the load of a site that has something to do and much left.
function delay()
  return math.random(10, 70)
end
